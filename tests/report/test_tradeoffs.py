"""What a trade-off claims: of a front, of one model, of equal ones, and of none."""

from bibench.report.figures import Point, front
from bibench.report.tradeoffs import takeaway_of

FULL = Point("fp32", "Full precision", 10.0, 90.0)
CHEAP, BEST, BEATEN = Point("bnn", "BNN", 1.0, 50.0), Point("recu", "ReCU", 2.0, 60.0), Point("fda", "FDA", 3.0, 55.0)


def said(*points: Point) -> str:
    return takeaway_of(points, "MB", "size")


def test_a_front() -> None:
    assert front([BEATEN, BEST, CHEAP]) == [CHEAP, BEST]
    assert said(FULL, CHEAP, BEST, BEATEN) == (
        "3 of 4 models lie on the front. Cheapest there: BNN, 50.0 % at 1 MB; most accurate binarized: ReCU, 60.0 % at "
        "2 MB. Full precision reaches 90.0 % at 5.0 times that size."
    )


def test_one_model() -> None:
    assert said(CHEAP) == "There is one model: BNN, 50.0 % at 1 MB."
    assert said(FULL, BEST) == (
        "2 of 2 models lie on the front. The only binarized one there: ReCU, 60.0 % at 2 MB. "
        "Full precision reaches 90.0 % at 5.0 times that size."
    )


def test_equal_models_are_all_on_the_front_and_all_named() -> None:
    twin = Point("xnor", "XNOR-Net", 1.0, 50.0)
    assert front([twin, CHEAP, BEST]) == [twin, CHEAP, BEST]
    assert said(CHEAP, twin) == (
        "2 of 2 models lie on the front. The binarized ones there: BNN and XNOR-Net, 50.0 % at 1 MB."
    )
    assert "Cheapest there: BNN and XNOR-Net, 50.0 % at 1 MB; most accurate binarized: ReCU" in said(CHEAP, twin, BEST)


def test_none_on_the_front() -> None:
    better = Point("fp32", "Full precision", 0.5, 90.0)
    assert said(better, CHEAP) == "No binarized model lies on the Pareto front."

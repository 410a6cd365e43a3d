"""All modalities on embedded data at full size, over three seeds: for a fresh machine with a GPU or with patience."""

from bibench.suite.definition import Suite, suite


@suite
def embedded() -> Suite:
    return Suite(
        name="embedded",
        description="all operators on every embedded task, its own architectures at full size, 3 seeds; no download",
        tasks=(
            "digits_photos",
            "photo_patches",
            "digit_scenes_voc",
            "digit_scenes_coco",
            "shapes",
            "shape_parts",
            "embedded_cola",
            "embedded_sst2",
            "embedded_mrpc",
            "embedded_stsb",
            "embedded_mnli",
            "formant_words",
        ),
        recipe="paper",
        seeds=(0, 1, 2),
    )

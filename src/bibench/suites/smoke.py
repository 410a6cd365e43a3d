"""Every modality once, in about a minute: for tests and for trying an installation."""

from bibench.suite.definition import Suite, suite

FEW = ("bnn", "reactnet")
"""Operators of the tasks that are there for their modality: the simplest, and one with learned parameters."""


@suite
def smoke() -> Suite:
    models = {
        "digits_photos": ("vgg_small[width=4]",),
        "digit_scenes_voc": ("faster_rcnn[proposals=20,roi_size=4,rois=4,width=8]",),
        "shapes": ("pointnet_vanilla[width=16]",),
        "shape_parts": ("pointnet_seg[width=8]",),
        "embedded_stsb": ("bert",),
        "formant_words": ("deep_fsmn[num_layers=2,width=32]",),
    }
    return Suite(
        name="smoke",
        description="all modalities for a handful of steps; checks the machinery, its numbers mean nothing",
        tasks=tuple(models),
        models=models,
        operators={task: FEW for task in models if task != "digits_photos"},
        recipe="smoke",
        seeds=(0,),
    )

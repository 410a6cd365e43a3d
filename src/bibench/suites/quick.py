"""The main job on a fresh machine: every modality on embedded data, no download, minutes on two cores."""

from bibench.suite.definition import Suite, suite


@suite
def quick() -> Suite:
    return Suite(
        name="quick",
        description="all operators on embedded images, text, points, speech and detection; "
        "1 seed, under 10 minutes on 2 cores",
        tasks=("digits_photos", "embedded_stsb", "shapes", "formant_words", "digit_scenes_voc"),
        models={
            "digits_photos": ("vgg_small[width=8]", "resnet18[width=16,stem=imagenet]"),
            "embedded_stsb": ("bert",),
            "shapes": ("pointnet_vanilla[width=16]",),
            "formant_words": ("fsmn[width=32,num_blocks=4]",),
            "digit_scenes_voc": ("faster_rcnn[proposals=50,roi_size=5,rois=8,width=16]",),
        },
        recipe="quick",
        seeds=(0,),
    )

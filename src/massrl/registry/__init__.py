"""Tables of parts: every objective, policy, task, ... by name.

A table's row says where a part is (``module:object``) and what it is, in one line. Nothing is imported
until a part is used, so that command-line help and configuration checks stay light. Other packages add
rows through Python entry points, for example in their ``pyproject.toml``::

    [project.entry-points."massrl.policies"]
    my-policy = "my_package.policies:my_policy"
"""

from massrl.registry.table import Table

OBJECTIVES = Table(
    "objective",
    group="massrl.objectives",
    flag="--method.name",
    expects="massrl.methods.base:Method",
    rows={
        "byol": ("massrl.methods.byol:BYOL", "predict the target network's view (2006.07733)"),
        "simclr": ("massrl.methods.simclr:SimCLR", "InfoNCE against other images (2002.05709)"),
    },
)
OPTIMIZERS = Table(
    "optimiser",
    group="massrl.optimizers",
    flag="--optim.name",
    rows={
        "lars": ("massrl.optim.build:lars", "SGD with a trust ratio per layer (1708.03888)"),
        "sgd": ("massrl.optim.build:sgd", "SGD with momentum"),
        "adamw": ("massrl.optim.build:adamw", "Adam with decoupled weight decay (1711.05101)"),
    },
)
POLICIES = Table(
    "policy",
    group="massrl.policies",
    flag="--views.policies",
    rows={
        "simclr": (
            "massrl.views.policies.colour:simclr",
            "colour jitter 0.4/0.4/0.2/0.1 (p 0.8), grey, blur, as MASSRL uses it",
        ),
        "byol-1": ("massrl.views.policies.colour:byol_1", "BYOL's first view: always blurred"),
        "byol-2": (
            "massrl.views.policies.colour:byol_2",
            "BYOL's second view: blur p 0.1, solarise p 0.2",
        ),
        "weak": ("massrl.views.policies.colour:weak", "crop and flip alone"),
        "randaugment": (
            "massrl.views.policies.randaugment:randaugment",
            "n of 14 operations at magnitude m of 30 (1909.13719)",
        ),
        "randaugment-expanded": (
            "massrl.views.policies.randaugment:randaugment_expanded",
            "RandAugment with SimCLR's jitter, hue, blur and grey among its operations",
        ),
        "autoaugment": (
            "massrl.views.policies.autoaugment:AutoAugment",
            "25 learned pairs of operations (1805.09501); searched with labels",
        ),
        "fast-autoaugment": (
            "massrl.views.policies.autoaugment:FastAutoAugment",
            "493-498 learned pairs of operations (1905.00397); searched with labels",
        ),
        "trivialaugment": (
            "massrl.views.policies.randaugment:TrivialAugment",
            "one operation at any strength (2103.10158), wide space",
        ),
    },
)
_GEOMETRY, _LEVELS = "massrl.views.operations.geometry", "massrl.views.operations.levels"
_GREY, _HISTOGRAM = "massrl.views.operations.grey", "massrl.views.operations.histogram"
OPERATIONS = Table(
    "operation",
    group="massrl.operations",
    flag="--views.policies",
    expects="massrl.views.operations.base:Operation",
    rows={
        "identity": ("massrl.views.operations.identity:identity", "no change"),
        "shear_x": (
            f"{_GEOMETRY}:shear_x",
            "horizontal shear about the upper left corner, pixels per row",
        ),
        "shear_y": (
            f"{_GEOMETRY}:shear_y",
            "vertical shear about the upper left corner, pixels per column",
        ),
        "translate_x": (f"{_GEOMETRY}:translate_x", "shift to the right, fraction of the width"),
        "translate_y": (f"{_GEOMETRY}:translate_y", "shift down, fraction of the height"),
        "rotate": (f"{_GEOMETRY}:rotate", "counter-clockwise rotation about the centre, degrees"),
        "brightness": (
            f"{_LEVELS}:brightness",
            "factor on every level: 0 gives black, 1 no change",
        ),
        "contrast": (
            f"{_GREY}:contrast",
            "factor on the difference from the mean grey: 0 gives that grey, 1 no change",
        ),
        "saturation": (
            f"{_GREY}:saturation",
            "factor on the difference from the pixel's own grey: 0 gives a grey image, 1 no change",
        ),
        "hue": (
            "massrl.views.operations.hue:hue",
            "hue shift, in whole turns of the colour circle",
        ),
        "sharpness": (
            "massrl.views.operations.sharpness:sharpness",
            "factor on the difference from a smoothed image: 0 gives that image, 1 no change",
        ),
        "posterize": (f"{_LEVELS}:posterize", "number of bits kept of each channel"),
        "solarize": (f"{_LEVELS}:solarize", "inverts the levels from this threshold up, 0 to 256"),
        "invert": (f"{_LEVELS}:invert", "inverts every level: 255 minus the level"),
        "autocontrast": (
            f"{_HISTOGRAM}:autocontrast",
            "stretches each channel to the full range of levels",
        ),
        "equalize": (f"{_HISTOGRAM}:equalize", "equalises the histogram of each channel"),
        "grayscale": (f"{_GREY}:grayscale", "grey image: luma in all three channels"),
        "gaussian_blur": (
            "massrl.views.operations.gaussian_blur:gaussian_blur",
            "Gaussian blur: standard deviation, pixels of the view",
        ),
        "cutout": (
            "massrl.views.operations.cutout:cutout",
            "grey square: side as a fraction of the view's, then its centre (x, y)",
        ),
    },
)
CROPS = Table(
    "crop",
    group="massrl.crops",
    flag="--views.crop",
    rows={
        "inception": ("massrl.views.crops:inception_crop", "random area and aspect ratio"),
        "uniform-side": ("massrl.views.crops:uniform_side_crop", "square with a random side"),
    },
)
LAYOUTS = Table(
    "layout",
    group="massrl.layouts",
    flag="--views.layout",
    expects="massrl.views.layouts:Layout",
    rows={
        "massrl": (
            "massrl.views.layouts:MASSRL",
            "2 crops, all 4 policies on each: 8 views, as in the released code",
        ),
        "massrl-4": (
            "massrl.views.layouts:MASSRL_4",
            "4 policies, each on a crop of its own: 4 views",
        ),
        "massrl-directional": (
            "massrl.views.layouts:MASSRL_DIRECTIONAL",
            "2 crops, of each SimCLR's view and a stronger one made from it: 4 views (DSSL)",
        ),
        "massrl-sampled": (
            "massrl.views.layouts:MASSRL_SAMPLED",
            "2 square crops, a random policy of 4 on each: 2 views, as in the paper's figure",
        ),
        "massrl-paired": (
            "massrl.views.layouts:MASSRL_PAIRED",
            "4 crops, a policy on each; only views 1 and 2, and 3 and 4, are compared",
        ),
        "byol": (
            "massrl.views.layouts:BYOL",
            "2 crops, one with each of BYOL's two policies: 2 views",
        ),
        "simclr": ("massrl.views.layouts:SIMCLR", "2 crops, SimCLR's policy on both: 2 views"),
    },
)
SOURCES = Table(
    "data source",
    group="massrl.sources",
    flag="--data.train",
    rows={  # in the order in which a spec is matched
        "shapes": ("massrl.data.sources.shapes:ShapesKind", "rendered scenes: shapes(count=4000)"),
        "torchvision": (
            "massrl.data.sources.torchvision_sets:TorchvisionKind",
            "torchvision's data sets by name, such as cifar10",
        ),
        "packed": ("massrl.data.sources.packed:PackedKind", "tar shards of massrl data pack"),
        "coco": ("massrl.data.sources.coco:CocoKind", "objects in a JSON file in COCO's layout"),
        "voc": (
            "massrl.data.sources.voc:VocKind",
            "folders in Pascal VOC's layout, voc2007 and voc2012",
        ),
        "yolo": (
            "massrl.data.sources.yolo:YoloKind",
            "objects in YOLO's layout: text files beside images, or data.yaml",
        ),
        "masks": (
            "massrl.data.sources.mask_folders:MaskFoldersKind",
            "class maps: a folder masks beside images",
        ),
        "files": (
            "massrl.data.sources.folders:FilesKind",
            "folders of images, and text files of paths",
        ),
    },
)
TASKS = Table(
    "task",
    group="massrl.tasks",
    flag="--task",
    rows={  # `all` runs them in this order
        "knn": ("massrl.evaluation.tasks.knn:KNearestNeighbours", "k nearest neighbours"),
        "linear": ("massrl.evaluation.tasks.linear:LinearProbe", "logistic regression on features"),
        "linear-sgd": (
            "massrl.evaluation.tasks.linear_sgd:LinearSgd",
            "a linear classifier trained on random crops",
        ),
        "semi-supervised": (
            "massrl.evaluation.tasks.semi:SemiSupervised",
            "fine-tuning on few labels",
        ),
        "features": (
            "massrl.evaluation.tasks.feature_maps:FeatureMaps",
            "maps of the features, nearest neighbours, invariance to each policy",
        ),
        "transfer": (
            "massrl.evaluation.tasks.transfer:Transfer",
            "a linear probe, and fine-tuning, on other data sets",
        ),
        "detect": ("massrl.evaluation.tasks.detection:Detection", "object detection"),
        "segment": (
            "massrl.evaluation.tasks.segmentation:Segmentation",
            "semantic segmentation",
        ),
    },
)
FORMATS = Table(
    "format",
    group="massrl.formats",
    flag="--format",
    expects="massrl.weights.formats:Format",
    rows={
        "safetensors": ("massrl.weights.formats:SAFETENSORS", "any network, for load_backbone"),
        "torchvision": (
            "massrl.weights.formats:TORCHVISION",
            "a state dict of a torchvision ResNet",
        ),
        "timm": ("massrl.weights.formats:TIMM", "a checkpoint of a timm model"),
        "onnx": ("massrl.weights.formats:ONNX", "any network, for ONNX Runtime"),
    },
)
LOGGERS = Table(
    "logger",
    group="massrl.loggers",
    flag="--train.loggers",
    expects="massrl.train.loggers:RunLogger",
    rows={
        "tensorboard": ("massrl.train.loggers:TensorBoard", "event files in the run folder"),
        "wandb": (
            "massrl.train.loggers:WeightsAndBiases",
            "Weights & Biases, offline without a key",
        ),
        "mlflow": (
            "massrl.train.loggers:MLflow",
            "MLflow, in the run folder unless a server is set",
        ),
    },
)

TABLES = (
    OBJECTIVES,
    OPTIMIZERS,
    POLICIES,
    OPERATIONS,
    CROPS,
    LAYOUTS,
    SOURCES,
    TASKS,
    FORMATS,
    LOGGERS,
)
"""Every kind of part, in the order in which ``massrl parts`` lists them."""

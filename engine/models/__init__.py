"""Networks, the hallucinator, and where they run."""

from engine.models.base import Network
from engine.models.convnet import ConvNet
from engine.models.convnet3d import ConvNet3D
from engine.models.hallucinator import Hallucinator
from engine.models.precision import autocast, choose_device, choose_precision, seeded
from engine.models.registry import VIDEO_MODELS, check_model, collapsed_model, image_model, still_model, video_model

__all__ = [
    "VIDEO_MODELS",
    "ConvNet",
    "ConvNet3D",
    "Hallucinator",
    "Network",
    "autocast",
    "check_model",
    "choose_device",
    "choose_precision",
    "collapsed_model",
    "image_model",
    "seeded",
    "still_model",
    "video_model",
]

"""Tools that know no data set, no network and no run.

Libraries that tell their makers how they are used, unless asked not to, are asked not to here,
before any of them is imported: every program and every module of ours comes by this file.
"""

import os

os.environ.update(
    ORT_DISABLE_TELEMETRY="1",  # onnxruntime: an uploader and a device number, from its import on
    HF_HUB_DISABLE_TELEMETRY="1",  # huggingface_hub, which accelerate imports
    MLFLOW_DISABLE_TELEMETRY="true",
    WANDB_ERROR_REPORTING="false",
    DO_NOT_TRACK="1",  # what further ones look at
)

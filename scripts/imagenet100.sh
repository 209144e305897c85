#!/usr/bin/env bash
# ResNet-18 on ImageNet-100: DATA is a folder with train/ and val/, one sub-folder per class.
set -euo pipefail
DATA=${DATA:?a folder with train/ and val/}
OUT=${OUT:-runs/imagenet100}
DEVICES=${DEVICES:-1}

massrl pretrain --recipe imagenet-massrl --data.train "$DATA" --model.backbone resnet18 \
    --data.batch_size 512 --train.epochs 200 --train.devices "$DEVICES" --out "$OUT"
massrl evaluate "$OUT" --task knn,linear

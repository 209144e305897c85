#!/usr/bin/env bash
# ResNet-50 on ImageNet, as published, on the eight GPUs of one machine.
# DATA is a folder with train/ and val/, or the shards that `massrl data pack` makes from train/, which load faster.
set -euo pipefail
DATA=${DATA:?a folder with train/ and val/}
OUT=${OUT:-runs/imagenet}

massrl pretrain --recipe imagenet-massrl --data.train "$DATA" --train.devices 8 --out "$OUT"
massrl evaluate "$OUT" --task knn,linear

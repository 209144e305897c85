#!/usr/bin/env bash
# ResNet-18 on all of CIFAR-10: BYOL, MASSRL and directional, each evaluated by k-NN and a linear probe.
# One GPU by default; DEVICES=8 trains on eight, with the same batch size and learning rate.
set -euo pipefail
DATA=${DATA:-cifar10}
OUT=${OUT:-runs}
DEVICES=${DEVICES:-1}

for recipe in cifar10-byol cifar10-massrl cifar10-massrl-directional cifar10-massrl-fast; do
    massrl pretrain --recipe "$recipe" --data.train "$DATA" --train.devices "$DEVICES" --out "$OUT/$recipe"
    massrl evaluate "$OUT/$recipe" --task knn,linear
done

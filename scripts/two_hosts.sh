#!/usr/bin/env bash
# One run on two machines. Start it on both, with the same HOST, and with NODE=1 on the second:
#     HOST=first.example NODE=0 DATA=/images ./two_hosts.sh
# Both need the images and the run folder under the same path. If a process dies, torchrun restarts it, and
# the run resumes from its last checkpoint.
set -euo pipefail
DATA=${DATA:?a folder with train/ and val/, on both machines}
HOST=${HOST:?name or address of the first machine}
NODE=${NODE:?0 on the first machine, 1 on the second}
OUT=${OUT:-runs/two-hosts}
DEVICES=${DEVICES:-8}
RECIPE=${RECIPE:-imagenet-massrl}

torchrun --nnodes 2 --node-rank "$NODE" --nproc-per-node "$DEVICES" --max-restarts 3 \
    --master-addr "$HOST" --master-port "${PORT:-29500}" \
    -m massrl pretrain --recipe "$RECIPE" --data.train "$DATA" --out "$OUT" "$@"

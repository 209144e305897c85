#!/usr/bin/env bash
# A backbone for a folder of your own images: look at them, look at the views, pre-train, all on this machine.
set -euo pipefail
DATA=${DATA:?a folder of images, of any form}
OUT=${OUT:-runs/own}

massrl data check "$DATA" || echo "broken images are listed above, and skipped below"
massrl views "$DATA" --out "$OUT-views.html"
massrl pretrain --data.train "$DATA" --data.on_error skip --out "$OUT"

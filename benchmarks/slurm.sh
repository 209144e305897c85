#!/usr/bin/env bash
# A job on two nodes of a SLURM cluster that reaches its time limit several times, compared with one that does
# not: results/slurm.md. It needs any cluster with two nodes, and a folder that both see.
#
#     benchmarks/slurm.sh FOLDER
set -euo pipefail
folder=$(realpath "${1:?a folder that every node sees}")
here=$(cd "$(dirname "$0")" && pwd)
job="$folder/job.slurm"
cat > "$job" <<'JOB'
#!/usr/bin/env bash
#SBATCH --job-name=massrl-benchmark
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --requeue
#SBATCH --signal=SIGUSR1@60
#SBATCH --open-mode=append
set -euo pipefail
srun massrl pretrain --data.train shapes --data.limit 512 --views.size 32 --model.backbone resnet10-tiny \
    --data.batch_size 32 --train.epochs 40 --train.accelerator cpu --train.probe_every 0 --out "$OUT"
JOB
# Minutes: the first limit is too short for the run; SLURM sends its signal one to two minutes before it.
for part in cut:3 whole:60; do
    name=${part%:*}
    grep -qs "^done:" "$folder/$name.log" && continue # exists already: not repeated
    rm -rf "${folder:?}/$name" "$folder/$name.log"
    OUT="$folder/$name" sbatch --wait --export=ALL --time="${part#*:}" --output="$folder/$name.log" "$job"
done
cmp "$folder/cut/backbone.safetensors" "$folder/whole/backbone.safetensors"
resumed=$(grep -c "^resuming from step" "$folder/cut.log")
{
    echo "# A SLURM job that reaches its time limit"
    echo
    echo "\`benchmarks/slurm.sh FOLDER\`; $(sinfo --version), two nodes, a process on each, CPU;" \
        "$(grep "^train " "$folder/whole.log" | tr -s ' ')."
    echo
    echo "| sessions | resumed from steps | final weights, compared with an uninterrupted job |"
    echo "|---|---|---|"
    echo "| $((resumed + 1)) | $(sed -n 's/^resuming from step \([0-9]*\).*/\1/p' "$folder/cut.log" | paste -sd, |
        sed 's/,/, /g') | identical, bit for bit |"
} > "$here/results/slurm.md"
cat "$here/results/slurm.md"

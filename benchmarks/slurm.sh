#!/usr/bin/env bash
# A run on two nodes of a SLURM cluster whose time is up again and again, against one that nothing happens to:
# results/slurm.md. Any cluster of two nodes will do; its folder is seen by both.
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
# Minutes: the first is too short for the run, and SLURM sends its signal one to two minutes before the end.
for part in cut:3 whole:60; do
    name=${part%:*}
    grep -qs "^done:" "$folder/$name.log" && continue # what is there is not made again
    rm -rf "${folder:?}/$name" "$folder/$name.log"
    OUT="$folder/$name" sbatch --wait --export=ALL --time="${part#*:}" --output="$folder/$name.log" "$job"
done
cmp "$folder/cut/backbone.safetensors" "$folder/whole/backbone.safetensors"
went_on=$(grep -c "^going on from step" "$folder/cut.log")
{
    echo "# A SLURM job whose time is up"
    echo
    echo "\`benchmarks/slurm.sh FOLDER\`; $(sinfo --version), two nodes, a process on each, CPU;" \
        "$(grep "^train " "$folder/whole.log" | tr -s ' ')."
    echo
    echo "| sittings | went on from steps | final weights, against a job with time enough |"
    echo "|---|---|---|"
    echo "| $((went_on + 1)) | $(sed -n 's/^going on from step \([0-9]*\).*/\1/p' "$folder/cut.log" | paste -sd, |
        sed 's/,/, /g') | identical, bit for bit |"
} > "$here/results/slurm.md"
cat "$here/results/slurm.md"

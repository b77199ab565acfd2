#!/bin/sh
# Train a recipe on a machine that is lent for minutes, in pieces that go on from one another.
#
#   tools/train_on_gpu.sh DATA OUT [OPTION…]
#
# DATA     the images, an archive such as cifar10-train.zip
# OUT      what to bring back: model.tar (the averaged weights as float16, a model folder),
#          log.jsonl, and the last sheet of samples
# OPTION   further options of `diffdescent train`, e.g. --set run.steps=40000
#
# In the environment:
# SECONDS_EACH  how long a piece trains (480)
# CONFIG        the recipe (configs/cifar10.yaml); BATCH its batch (512)
# STATE         the run's folder, which stays on the machine (runs/lent)
# PYTHON        the interpreter, with diffdescent[train] (python3)
#
# Where there is an NVIDIA GPU, the network is compiled and its images are channels-last. That was
# tried on no GPU yet; an OPTION undoes it: --set run.compile=false --set run.channels_last=false.
# The next piece goes on from STATE. Where that was lost with the machine, it starts from the
# weights of OUT/model.tar, with a new optimizer. The learning rate falls over the last
# optimizer.decay steps before run.steps: give the last piece a run.steps that it reaches.
set -eu

if [ $# -lt 2 ]; then
    echo "Give the images and the folder for what comes back: tools/train_on_gpu.sh DATA OUT" >&2
    exit 2
fi
data=$1 out=$2
shift 2
seconds=${SECONDS_EACH:-480} config=${CONFIG:-configs/cifar10.yaml} batch=${BATCH:-512}
state=${STATE:-runs/lent} python=${PYTHON:-python3}
mkdir -p "$out"

if [ ! -e "$state/checkpoint.pt" ] && [ -e "$out/model.tar" ]; then
    mkdir -p "$state-begun"  # not in the run's own folder, which takes no other files
    tar -xf "$out/model.tar" -C "$state-begun"
    set -- "$@" --set "init_from=$state-begun/model"  # after an OPTION that says so for the first
fi

if command -v nvidia-smi > /dev/null; then
    set -- --set run.compile=true --set run.channels_last=true "$@"
fi

"$python" -m diffdescent train "$config" --half --seconds "$seconds" \
    --set "data.path=$data" --set "out=$state" --set "run.batch=$batch" "$@"

# Under another name first: a piece that is cut off leaves what the last one brought.
tar -cf "$out/model.tar.part" -C "$state" model
mv "$out/model.tar.part" "$out/model.tar"
cp "$state/log.jsonl" "$out/log.jsonl"
last=$(ls "$state/samples" 2>/dev/null | tail -n 1)
[ -z "$last" ] || cp "$state/samples/$last" "$out/samples.png"
size=$(wc -c < "$out/model.tar")
if [ "$size" -gt 16777216 ]; then
    echo "model.tar has $size bytes, more than the 16 MiB that a bundled network may have." >&2
fi
tail -n 1 "$out/log.jsonl"

#!/bin/sh
# Train on ImageNet as published, on the GPUs named here; further flags are passed on, for example: ./run.sh --data-path DIR
GPUS=${GPUS:-0,1,2,3,4,5,6,7}
export CUDA_VISIBLE_DEVICES="$GPUS"
cd "$(dirname "$0")" && exec python -m torch.distributed.launch --master_port=1234 \
    --nproc_per_node="$(echo "$GPUS" | tr ',' '\n' | wc -l)" train_amp.py -net resnet34 -b 256 -lr 0.1 "$@"

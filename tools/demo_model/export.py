"""Writes the trained model as checkpoints and checks them: `python3 export.py OUT`.

Reads tokenizer.json and out/model.pt; writes OUT/bf16, OUT/nvfp4, and out/decoded, which holds the values of the NVFP4
weights as float32, for check.py.
"""

import json
import os
import shutil
import sys

import torch
from safetensors.torch import save_file

import nvfp4
from learn_tokenizer import END_OF_TEXT, END_OF_TURN
from model import BF16_LAYERS, CONFIG, EPSILON, PATTERN

SHARD_BYTES = 14_000_000
DECODED = "out/decoded"
# Small and sensitive: stay float32.
FLOAT32_NAMES = ("A_log", ".D", "dt_bias", "e_score_correction_bias")
NVFP4_NAMES = ("in_proj.weight", "out_proj.weight", "up_proj.weight", "down_proj.weight")

CONFIG_JSON = {
    "architectures": ["NemotronHForCausalLM"],
    "model_type": "nemotron_h",
    **CONFIG,
    "num_hidden_layers": len(PATTERN),
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": [END_OF_TEXT, END_OF_TURN],
    "pad_token_id": 0,
    "expand": 2,
    "hidden_dropout": 0.0,
    "initializer_range": 0.02,
    "intermediate_size": CONFIG["moe_intermediate_size"],
    "mamba_hidden_act": "silu",
    "mamba_proj_bias": False,
    "mamba_ssm_cache_dtype": "float32",
    "max_position_embeddings": 4096,
    "mlp_bias": False,
    "mlp_hidden_act": "relu2",
    "norm_eps": EPSILON,
    "num_logits_to_keep": 1,
    "rescale_prenorm_residual": True,
    "residual_in_fp32": False,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "time_step_floor": 0.0001,
    "time_step_max": 0.1,
    "time_step_min": 0.001,
    "torch_dtype": "bfloat16",
    "use_bias": False,
    "use_cache": True,
    "use_conv_bias": True,
}


def checkpoint_names(parameters):
    """The trained parameters under the names of Hugging Face's NemotronH, float32, each expert by itself."""
    tensors = {}
    for name, value in parameters.items():
        value = value.float()
        container, _, last = name.rpartition(".")
        if name == "embeddings":
            tensors["backbone.embeddings.weight"] = value
        elif name == "lm_head.weight":
            tensors[name] = value
        elif last in ("up", "down"):
            for expert, weight in enumerate(value):
                tensors[f"backbone.{container}.experts.{expert}.{last}_proj.weight"] = weight.clone()
        else:
            tensors["backbone." + name] = value
    return tensors


def to_bf16(tensors):
    return {
        name: (value if name.endswith(FLOAT32_NAMES) else value.to(torch.bfloat16)).contiguous()
        for name, value in tensors.items()
    }


def layer_of(name):
    """The block that a tensor belongs to, or None."""
    return int(name.split(".")[2]) if name.startswith("backbone.layers") else None


def is_nvfp4(name):
    return layer_of(name) not in {None, *BF16_LAYERS} and name.endswith(NVFP4_NAMES)


def to_nvfp4(tensors):
    """ModelOpt's tensors of an NVFP4 checkpoint, and the same weights decoded."""
    packed, decoded = {}, {}
    for name, value in tensors.items():
        if not is_nvfp4(name):
            packed[name] = decoded[name] = value
            continue
        codes, scales, global_scale = nvfp4.quantize(value)
        module = name.removesuffix("weight")
        packed[name] = nvfp4.pack(codes)
        packed[module + "weight_scale"] = scales.contiguous()
        packed[module + "weight_scale_2"] = global_scale.reshape(()).float().clone()
        decoded[name] = nvfp4.rounded(value)
    return packed, decoded


def excluded_modules():
    """What hf_quant_config.json says is not quantised."""
    projections = {"M": ("in_proj", "out_proj"), "*": ("q_proj", "k_proj", "v_proj", "o_proj")}
    modules = ["lm_head"]
    for layer in sorted(BF16_LAYERS):
        modules += [f"backbone.layers.{layer}.mixer.{name}" for name in projections[PATTERN[layer]]]
    return modules + [f"backbone.layers.{layer}.mixer.conv1d" for layer, kind in enumerate(PATTERN) if kind == "M"]


def split_into_shards(tensors):
    """The tensors in the order of the model, in files of at most SHARD_BYTES."""

    def place(name):
        layer = layer_of(name)
        return layer if layer is not None else -1 if "embed" in name else len(PATTERN), name

    shards, size = [{}], 0
    for name in sorted(tensors, key=place):
        nbytes = tensors[name].numel() * tensors[name].element_size()
        if size + nbytes > SHARD_BYTES:
            shards.append({})
            size = 0
        shards[-1][name] = tensors[name]
        size += nbytes
    return shards


def write_json(value, path, indent=2):
    with open(path, "w") as file:
        json.dump(value, file, indent=indent)


def write_checkpoint(folder, tensors, is_quantized):
    os.makedirs(folder, exist_ok=True)
    shards = split_into_shards(tensors)
    metadata = {"format": "pt"}
    if len(shards) == 1:
        save_file(shards[0], f"{folder}/model.safetensors", metadata=metadata)
    else:
        files = {}
        for number, shard in enumerate(shards, 1):
            file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
            save_file(shard, f"{folder}/{file}", metadata=metadata)
            files.update(dict.fromkeys(shard, file))
        total = sum(value.numel() * value.element_size() for value in tensors.values())
        index = {"metadata": {"total_size": total}, "weight_map": files}
        write_json(index, f"{folder}/model.safetensors.index.json", indent=1)
    write_json(CONFIG_JSON, f"{folder}/config.json")
    if is_quantized:
        quantization = {
            "quant_algo": "NVFP4",
            "kv_cache_quant_algo": None,
            "group_size": nvfp4.BLOCK,
            "exclude_modules": excluded_modules(),
        }
        producer = {"name": "modelopt", "version": "0.29.0"}  # whose layout this is
        write_json({"producer": producer, "quantization": quantization}, f"{folder}/hf_quant_config.json")
    shutil.copy("tokenizer.json", folder)


def main(out):
    parameters = torch.load("out/model.pt")
    bf16 = to_bf16(checkpoint_names(parameters))
    packed, decoded = to_nvfp4(bf16)
    write_checkpoint(f"{out}/bf16", bf16, False)
    write_checkpoint(f"{out}/nvfp4", packed, True)
    write_checkpoint(DECODED, decoded, False)

    import check  # needs transformers and a GPU, which the files above don't

    check.check(parameters, f"{out}/bf16", DECODED)


if __name__ == "__main__":
    main(sys.argv[1])

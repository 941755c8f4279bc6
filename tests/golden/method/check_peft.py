# SPDX-License-Identifier: Apache-2.0
"""Loads adapter folders in Hugging Face PEFT and compares logits with those saved beside them.

    check_peft.py --available                    exits with 77 if torch or peft is absent
    check_peft.py MODEL DATA.json ADAPTER...     each ADAPTER also contains logits.safetensors
"""
import json
import os
import sys
import warnings

# Max error over max value, for F32 on both sides; see tests/support/golden.h.
TOLERANCE = 5e-5


def main(model_path, data_path, adapters):
    import torch
    from peft import PeftModel
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    with open(data_path, encoding="utf-8") as file:
        ids = torch.tensor([json.load(file)["sequences"][0]])
    failures = 0
    for adapter in adapters:
        base = AutoModelForCausalLM.from_pretrained(
            model_path, dtype=torch.float32, attn_implementation="eager")
        with warnings.catch_warnings(record=True) as caught, torch.no_grad():
            warnings.simplefilter("always")
            model = PeftModel.from_pretrained(base, adapter).eval()
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
        missing = [str(w.message) for w in caught if "missing" in str(w.message).lower()]
        ours = load_file(os.path.join(adapter, "logits.safetensors"))["logits"]
        logits = logits[-ours.shape[0]:]
        error = float((logits - ours).abs().max() / logits.abs().max())
        with open(os.path.join(adapter, "adapter_config.json"), encoding="utf-8") as file:
            kind = json.load(file)["peft_type"]
        good = error <= TOLERANCE and not missing
        failures += not good
        print(f"{kind}: error {error:.2e} {'' if good else 'FAILED'} {missing}", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--available"]:
        try:
            import peft
            import safetensors
            import torch
            import transformers
        except ImportError:
            sys.exit(77)
        sys.exit(0)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))

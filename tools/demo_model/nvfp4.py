"""NVFP4 as the releases store it: e2m1 codes, an e4m3 scale per 16 columns, a float32 scale per matrix."""

import torch

BLOCK = 16
LARGEST_E2M1 = 6
LARGEST_E4M3 = 448
# Halfway between the values 0, 0.5, 1, 1.5, 2, 3, 4 and 6; a value on the border takes the smaller one.
BORDERS = (0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0)


def quantize(weight):
    """`weight` [..., out, in] as codes u8 [..., out, in], scales e4m3 [..., out, in / 16] and f32 [..., 1, 1].

    The matrix's scale is such that its largest block scale is e4m3's largest number.
    """
    weight = weight.float()
    global_scale = weight.abs().amax((-2, -1), keepdim=True) / (LARGEST_E2M1 * LARGEST_E4M3)
    blocks = weight.reshape(*weight.shape[:-1], weight.shape[-1] // BLOCK, BLOCK)
    scales = (blocks.abs().amax(-1) / LARGEST_E2M1 / global_scale).clamp(max=LARGEST_E4M3).to(torch.float8_e4m3fn)
    # A block of zeros has the scale 0.
    scaled = blocks / (scales.float() * global_scale).clamp(min=1e-30)[..., None]
    magnitude = scaled.abs()
    codes = sum((magnitude > border).to(torch.uint8) for border in BORDERS)
    codes = codes + (scaled < 0).to(torch.uint8) * 8
    return codes.reshape(weight.shape), scales, global_scale


def decode(codes):
    """The values of e2m1 codes: three bits of magnitude, and the sign above them."""
    magnitude = (codes & 7).float()
    value = torch.where(magnitude < 4, magnitude * 0.5, torch.where(magnitude < 6, magnitude - 2, magnitude * 2 - 8))
    return torch.where(codes >= 8, -value, value)


@torch.no_grad()
def rounded(weight):
    """`weight` as it comes back from NVFP4."""
    codes, scales, global_scale = quantize(weight)
    blocks = decode(codes).reshape(*weight.shape[:-1], weight.shape[-1] // BLOCK, BLOCK)
    return (blocks * (scales.float() * global_scale)[..., None]).reshape(weight.shape)


def pack(codes):
    """Two codes a byte, the even column in the low half: u8 [out, in / 2]."""
    return (codes[:, 0::2] | codes[:, 1::2] << 4).contiguous()


class RoundedWeight(torch.autograd.Function):
    """Rounds in the forward pass; the gradient passes as if it hadn't (a straight-through estimator)."""

    @staticmethod
    def forward(ctx, weight):
        return rounded(weight)

    @staticmethod
    def backward(ctx, gradient):
        return gradient

// Random elements of synthetic weights: every tensor is a function of the seed and its name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "checkpoint/safetensors.h"

namespace strata {

/// How the elements of a tensor are made: each is the table's entry at a draw of `bits` bits, so a distribution is a
/// list of its quantiles in the tensor's own encoding.
struct ElementTable {
  int bits = 0;                    // 0 to 16; the table has 2^bits entries
  std::int64_t element_bytes = 1;  // 1, 2 or 4
  std::vector<std::byte> entries;
};

/// N(mean, std) in BF16 or F32.
ElementTable gaussian_elements(StoredType type, double mean, double std);
/// One value, in BF16 or F32.
ElementTable constant_element(StoredType type, double value);
/// Mamba-2's initial A_log: the logarithm of U[1, 16], in BF16.
ElementTable A_log_elements();
/// Mamba-2's initial dt_bias: what softplus takes to a log-uniform time step in [1e-3, 1e-1], in BF16.
ElementTable dt_bias_elements();
/// E4M3 codes of a Gaussian. Times a scale of s its standard deviation is s * fp8_unit_std().
ElementTable fp8_elements();
double fp8_unit_std();
/// Bytes of two E2M1 codes, each of a Gaussian whose largest of 16 is about 6.
ElementTable nvfp4_code_elements();
/// E4M3 block scales, log-uniform from 1 to 16.
ElementTable nvfp4_scale_elements();
/// The standard deviation of code times block scale.
double nvfp4_unit_std();

/// The 64 bits by which tensors of different names differ.
std::uint64_t hash_of_name(std::string_view name);

/// Elements [first, first + out.size() / element_bytes) of the tensor; `first` a multiple of 8. Draws are Philox4x32-10
/// of (seed, name, index), so pieces can be made in any order, on any thread.
void fill_elements(const ElementTable& table, std::uint64_t seed, std::uint64_t name_hash, std::int64_t first,
                   std::span<std::byte> out);

}  // namespace strata

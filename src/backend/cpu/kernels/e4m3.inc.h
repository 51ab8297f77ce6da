// e4m3 as bf16 by way of f32.

void e4m3_to_bf16(const unsigned char* in, std::uint16_t* out, std::int64_t n) {
  unsigned char last[16] = {};
  for (std::int64_t i = 0; i < n; i += 16) {
    const std::int64_t count = n - i < 16 ? n - i : 16;
    if (count < 16) __builtin_memcpy(last, in + i, std::size_t(count));
    F16 value;
    load_e4m3(value, count < 16 ? last : in + i);
    float values[16];
    store(values, value);
    std::uint32_t bits[16];
    __builtin_memcpy(bits, values, 64);
    for (std::int64_t j = 0; j < count; ++j)
      out[i + j] = (in[i + j] & 0x7f) == 0x7f ? std::uint16_t(0x7fc0) : std::uint16_t(bits[j] >> 16);
  }
}

// Wider vectors as pairs of narrower ones: every operation is the halves' own.

template <class Half>
struct Pair {
  Half lo, hi;
};
template <class T>
constexpr int kLanesOf = kNativeLanes;
template <class Half>
constexpr int kLanesOf<Pair<Half>> = 2 * kLanesOf<Half>;

#define PAIR_FUNCTION   \
  template <class Half> \
  INLINE

PAIR_FUNCTION void load(Pair<Half>& o, const float* p) {
  load(o.lo, p);
  load(o.hi, p + kLanesOf<Half>);
}
PAIR_FUNCTION void load_n(Pair<Half>& o, const float* p, std::int64_t n) {
  load_n(o.lo, p, n);
  load_n(o.hi, p + kLanesOf<Half>, n - kLanesOf<Half>);
}
PAIR_FUNCTION void store(float* p, Pair<Half> a) {
  store(p, a.lo);
  store(p + kLanesOf<Half>, a.hi);
}
PAIR_FUNCTION void store_n(float* p, Pair<Half> a, std::int64_t n) {
  store_n(p, a.lo, n);
  store_n(p + kLanesOf<Half>, a.hi, n - kLanesOf<Half>);
}
PAIR_FUNCTION void broadcast(Pair<Half>& o, float x) {
  broadcast(o.lo, x);
  o.hi = o.lo;
}
PAIR_FUNCTION void load_words(Pair<Half>& o, const unsigned char* p) {
  load_words(o.lo, p);
  load_words(o.hi, p + 4 * kLanesOf<Half>);
}
PAIR_FUNCTION void load_bf16(Pair<Half>& o, const std::uint16_t* p) {
  load_bf16(o.lo, p);
  load_bf16(o.hi, p + kLanesOf<Half>);
}
PAIR_FUNCTION void load_e4m3(Pair<Half>& o, const unsigned char* p) {
  load_e4m3(o.lo, p);
  load_e4m3(o.hi, p + kLanesOf<Half>);
}
PAIR_FUNCTION Pair<Half> operator+(Pair<Half> a, Pair<Half> b) { return {a.lo + b.lo, a.hi + b.hi}; }
PAIR_FUNCTION Pair<Half> operator-(Pair<Half> a, Pair<Half> b) { return {a.lo - b.lo, a.hi - b.hi}; }
PAIR_FUNCTION Pair<Half> operator*(Pair<Half> a, Pair<Half> b) { return {a.lo * b.lo, a.hi * b.hi}; }
PAIR_FUNCTION Pair<Half> operator/(Pair<Half> a, Pair<Half> b) { return {a.lo / b.lo, a.hi / b.hi}; }
PAIR_FUNCTION Pair<Half> fma(Pair<Half> a, Pair<Half> b, Pair<Half> c) {
  return {fma(a.lo, b.lo, c.lo), fma(a.hi, b.hi, c.hi)};
}
PAIR_FUNCTION Pair<Half> max(Pair<Half> a, Pair<Half> b) { return {max(a.lo, b.lo), max(a.hi, b.hi)}; }
PAIR_FUNCTION Pair<Half> min(Pair<Half> a, Pair<Half> b) { return {min(a.lo, b.lo), min(a.hi, b.hi)}; }
PAIR_FUNCTION Pair<Half> select_greater(Pair<Half> a, Pair<Half> b, Pair<Half> yes, Pair<Half> no) {
  return {select_greater(a.lo, b.lo, yes.lo, no.lo), select_greater(a.hi, b.hi, yes.hi, no.hi)};
}
PAIR_FUNCTION Pair<Half> keep_first(Pair<Half> a, std::int64_t n, float rest) {
  return {keep_first(a.lo, n, rest), keep_first(a.hi, n - kLanesOf<Half>, rest)};
}
PAIR_FUNCTION auto e2m1(Pair<Half> codes, int shift) -> Pair<decltype(e2m1(codes.lo, shift))> {
  return {e2m1(codes.lo, shift), e2m1(codes.hi, shift)};
}
PAIR_FUNCTION auto bf16_low(Pair<Half> a) -> Pair<decltype(bf16_low(a.lo))> { return {bf16_low(a.lo), bf16_low(a.hi)}; }
PAIR_FUNCTION auto bf16_high(Pair<Half> a) -> Pair<decltype(bf16_high(a.lo))> {
  return {bf16_high(a.lo), bf16_high(a.hi)};
}
PAIR_FUNCTION Pair<Half> to_bf16(Pair<Half> a) { return {to_bf16(a.lo), to_bf16(a.hi)}; }
PAIR_FUNCTION Pair<Half> nearest_integer(Pair<Half> a) { return {nearest_integer(a.lo), nearest_integer(a.hi)}; }
PAIR_FUNCTION Pair<Half> power_of_two(Pair<Half> n) { return {power_of_two(n.lo), power_of_two(n.hi)}; }
PAIR_FUNCTION float sum_of_lanes(Pair<Half> a) { return sum_of_lanes(a.lo + a.hi); }
PAIR_FUNCTION float max_of_lanes(Pair<Half> a) { return max_of_lanes(max(a.lo, a.hi)); }

#undef PAIR_FUNCTION

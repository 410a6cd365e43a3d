// What follows the dot products of a layer, along a line of outputs; see `Line`.

template <class Body>
void each(int64_t n, const Operand& operand, Body&& body) {
  if (!operand.data) return;
  const float one = *operand.data;
  if (operand.step)
    for (int64_t i = 0; i < n; ++i) body(i, operand.data[i]);
  else
    for (int64_t i = 0; i < n; ++i) body(i, one);
}

// The residual and the activation, in one pass over the line.
template <bool add, Activation activation, bool slopes = false>
void finish_last(float* __restrict out, int64_t n, const Line& line) {
  const float *__restrict residual = line.residual, *__restrict slope = line.slope.data;
  const float low = line.low, high = line.high, one = slope && !slopes ? *slope : 0.0f;
  for (int64_t i = 0; i < n; ++i) {
    float v = out[i];
    if constexpr (add) v += residual[i];
    if constexpr (activation == Activation::kRelu) v = v < 0.0f ? 0.0f : v;
    if constexpr (activation == Activation::kPrelu) {
      const float scaled = v * (slopes ? slope[i] : one);
      v = v < 0.0f ? scaled : v;
    }
    if constexpr (activation == Activation::kClip) {
      v = v < low ? low : v;
      v = v > high ? high : v;
    }
    out[i] = v;
  }
}

template <bool add>
void finish_activation(float* out, int64_t n, const Line& line) {
  switch (line.activation) {
    case Activation::kNone:
      if (add) finish_last<add, Activation::kNone>(out, n, line);
      return;
    case Activation::kRelu: return finish_last<add, Activation::kRelu>(out, n, line);
    case Activation::kClip: return finish_last<add, Activation::kClip>(out, n, line);
    case Activation::kPrelu:
      if (line.slope.step) return finish_last<add, Activation::kPrelu, true>(out, n, line);
      return finish_last<add, Activation::kPrelu>(out, n, line);
  }
}

void finish_line(float* out, int64_t n, const Line& line) {
  if (line.channel.data || line.column.data || line.row != 1.0f) {
    const float one = 1.0f;
    const Operand channel = line.channel.data ? line.channel : Operand{&one, 0};
    const Operand column = line.column.data ? line.column : Operand{&one, 0};
    const float row = line.row;
    for (int64_t i = 0; i < n; ++i) {
      const float factor = (channel.data[i * channel.step] * row) * column.data[i * column.step];
      out[i] *= factor;
    }
  }
  each(n, line.pixel, [&](int64_t i, float v) { out[i] *= v; });
  each(n, line.post, [&](int64_t i, float v) { out[i] *= v; });
  each(n, line.bias, [&](int64_t i, float v) { out[i] += v; });
  if (line.residual) return finish_activation<true>(out, n, line);
  finish_activation<false>(out, n, line);
}

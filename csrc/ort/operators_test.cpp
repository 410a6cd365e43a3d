// The operators without ONNX Runtime: a table of functions (stand_in.h) stands in for it, and drives RegisterCustomOps and
// the kernels with random nodes, good ones and spoiled ones. Good nodes must give what the definitions say, dot products
// exactly; spoiled ones must give a status that says what is wrong, or a result. All buffers have exactly their size, so
// that AddressSanitizer sees a step beyond.
//
//   operators_test [cases] [seed]

#include "foundation/testing.h"
#include "isa/dispatch.h"
#include "stand_in.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <variant>
#include <vector>

using namespace bibench;
using namespace bibench::ort;
using namespace bibench::ort::stand_in;
using testing::between, testing::coin, testing::current, testing::fail, testing::random_bits;

extern "C" Status* RegisterCustomOps(SessionOptions*, const ApiBase*);

namespace {

// A node with its inputs by place, and what it should give (empty where nothing is known).
struct Node {
  const char* op;
  KernelInfo info;
  std::vector<std::unique_ptr<Value>> inputs;
  std::vector<double> wanted;
  double tolerance = 0;
};

float* floats(const Value& v) { return reinterpret_cast<float*>(v.bytes.get()); }

std::unique_ptr<Value> normal(const Sizes& sizes) {
  auto v = value(kFloat, sizes);
  int64_t size = 1;
  for (const int64_t s : sizes) size *= s;
  for (int64_t i = 0; i < size; ++i) floats(*v)[i] = between(0, 9) ? std::normal_distribution<float>()(random_bits) : 0.0f;
  return v;
}

// Packed random weights (rows, size) and their signs.
std::unique_ptr<Value> bits(int64_t rows, int64_t size, std::vector<int>& signs) {
  const int64_t bytes = (size + 7) / 8;
  auto v = value(kUint8, {rows, bytes});
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t i = 0; i < size; ++i) {
      signs.push_back(coin() ? 1 : -1);
      if (signs.back() < 0) v->bytes[r * bytes + i / 8] = static_cast<char>(v->bytes[r * bytes + i / 8] | 1 << i % 8);
    }
  return v;
}

int sign_of(double v) { return v >= 0 ? 1 : -1; }

Node convolution() {
  Node node{"BinaryConv", {}, {}, {}, 0};
  const size_t axes = static_cast<size_t>(between(1, 2));
  const int kind = static_cast<int>(between(0, 2));
  const int64_t groups = kind == 0 ? 1 : kind == 1 ? between(2, 3) : between(1, 40);
  const int64_t inputs = kind == 2 ? 1 : between(1, 70), outputs = kind == 2 ? 1 : between(1, 40);
  const int64_t channels = groups * inputs, out = groups * outputs, n = between(0, 3), pad = between(-1, 1);
  Sizes kernel(axes), stride(axes), dilation(axes), pads(2 * axes), in(axes), to(axes);
  for (size_t i = 0; i < axes; ++i) {
    kernel[i] = between(1, 4), stride[i] = between(1, 3), dilation[i] = between(1, 2);
    pads[i] = between(0, 2), pads[i + axes] = between(0, 2);
    const int64_t span = (kernel[i] - 1) * dilation[i] + 1;
    in[i] = std::max<int64_t>(1, span - pads[i] - pads[i + axes]) + between(0, 9);
    to[i] = (in[i] + pads[i] + pads[i + axes] - span) / stride[i] + 1;
  }
  node.info.attributes = {{"kernel_shape", kernel}, {"strides", stride}, {"dilations", dilation}, {"pads", pads},
                          {"group", groups}, {"channels", channels}, {"pad_value", pad}};
  Sizes x_sizes = {n, channels}, y_sizes = {n, out};
  x_sizes.insert(x_sizes.end(), in.begin(), in.end());
  y_sizes.insert(y_sizes.end(), to.begin(), to.end());
  // As two axes, the first of one element where there is one.
  const auto two = [&](const Sizes& v, size_t start, int64_t absent) {
    return axes == 2 ? Sizes{v[start], v[start + 1]} : Sizes{absent, v[start]};
  };
  const Sizes k = two(kernel, 0, 1), s = two(stride, 0, 1), d = two(dilation, 0, 1), p = two(pads, 0, 0), i = two(in, 0, 1),
              o = two(to, 0, 1);
  std::vector<int> w;
  auto weight = bits(out, inputs * k[0] * k[1], w);
  auto x = normal(x_sizes);
  node.inputs.push_back(std::move(x));
  node.inputs.push_back(std::move(weight));
  const bool more = coin();
  const auto optional = [&](const Sizes& sizes) {
    node.inputs.push_back(more && coin() ? normal(sizes) : nullptr);
    return node.inputs.back().get();
  };
  const Value *scale = optional({out}), *bias = optional({out}), *threshold = optional({channels}),
              *rows = axes == 2 ? optional({to[0]}) : (node.inputs.push_back(nullptr), nullptr),
              *columns = optional({to[axes - 1]}), *residual = optional(y_sizes);
  const char* const activations[] = {"", "relu", "prelu", "clip"};
  const std::string activation = more ? activations[between(0, 3)] : "";
  node.inputs.push_back(activation == "prelu" ? normal({coin() ? 1 : out}) : nullptr);
  const Value* slope = node.inputs.back().get();
  const Value* post = optional({out});
  const char* const scales[] = {"", "spatial", "sample"};
  const std::string activation_scale = more ? scales[between(0, 2)] : "";
  node.info.attributes["activation"] = activation;
  node.info.attributes["activation_scale"] = activation_scale;
  node.info.attributes["clip_min"] = -1.0f;
  node.info.attributes["clip_max"] = 1.5f;
  const auto at = [](const Value* v, int64_t index, double otherwise) { return v ? floats(*v)[index] : otherwise; };
  const float* data = floats(*node.inputs[0]);
  for (int64_t b = 0; b < n; ++b)
    for (int64_t c = 0; c < out; ++c)
      for (int64_t y = 0; y < o[0]; ++y)
        for (int64_t z = 0; z < o[1]; ++z) {
          int64_t dot = 0;
          double window = 0, all = 0;
          for (int64_t ci = 0; ci < inputs; ++ci)
            for (int64_t ky = 0; ky < k[0]; ++ky)
              for (int64_t kx = 0; kx < k[1]; ++kx) {
                const int64_t row = y * s[0] + ky * d[0] - p[0], column = z * s[1] + kx * d[1] - p[1];
                const int64_t channel = c / outputs * inputs + ci;
                int64_t a = pad;
                if (row >= 0 && row < i[0] && column >= 0 && column < i[1]) {
                  const double v = data[((b * channels + channel) * i[0] + row) * i[1] + column];
                  a = sign_of(v - at(threshold, channel, 0));
                  window += std::fabs(v);
                }
                dot += a * w[static_cast<size_t>(((c * inputs + ci) * k[0] + ky) * k[1] + kx)];
              }
          double v = static_cast<double>(dot) * at(scale, c, 1) * at(rows, y, 1) * at(columns, z, 1);
          if (activation_scale == "spatial") v *= window / static_cast<double>(inputs * k[0] * k[1]);
          if (activation_scale == "sample") {
            const int64_t size = channels * i[0] * i[1];
            for (int64_t e = 0; e < size; ++e) all += std::fabs(data[b * size + e]);
            v *= all / static_cast<double>(size);
          }
          v = v * at(post, c, 1) + at(bias, c, 0) + at(residual, static_cast<int64_t>(node.wanted.size()), 0);
          if (activation == "relu") v = std::max(v, 0.0);
          if (activation == "prelu" && v < 0) v *= floats(*slope)[slope->info.sizes[0] == 1 ? 0 : c];
          if (activation == "clip") v = std::clamp(v, -1.0, 1.5);
          node.wanted.push_back(v);
        }
  node.tolerance = more ? 1e-4 : 0;
  return node;
}

Node linear() {
  Node node{"BinaryLinear", {}, {}, {}, 0};
  const int64_t inputs = between(1, 150), outputs = between(1, 70), rank = between(0, 3);
  Sizes sizes;
  int64_t rows = 1;
  for (int64_t i = 0; i < rank; ++i) sizes.push_back(between(0, 5)), rows *= sizes.back();
  sizes.push_back(inputs);
  node.info.attributes = {{"channels", inputs}};
  std::vector<int> w;
  node.inputs.push_back(normal(sizes));
  node.inputs.push_back(bits(outputs, inputs, w));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t o = 0; o < outputs; ++o) {
      int dot = 0;
      for (int64_t i = 0; i < inputs; ++i) dot += sign_of(floats(*node.inputs[0])[r * inputs + i]) * w[static_cast<size_t>(o * inputs + i)];
      node.wanted.push_back(dot);
    }
  return node;
}

Node attention() {
  Node node{"BinaryAttention", {}, {}, {}, 0};
  const int64_t b = between(0, 2), h = between(1, 3), t = between(0, 30), s = between(0, 40), d = between(1, 70), e = between(0, 20);
  const bool strict = coin(), masked = coin();
  node.info.attributes = {{"strict", int64_t{strict}}};
  node.inputs.push_back(normal({b, h, t, d}));
  node.inputs.push_back(normal({b, h, s, d}));
  node.inputs.push_back(normal({b, h, s, e}));
  const float *q = floats(*node.inputs[0]), *k = floats(*node.inputs[1]), *v = floats(*node.inputs[2]);
  if (masked) {
    node.inputs.push_back(value(kBool, {t, s}));
    for (int64_t i = 0; i < t * s; ++i) node.inputs[3]->bytes[i] = static_cast<char>(coin());
  }
  for (int64_t head = 0; head < b * h; ++head)
    for (int64_t i = 0; i < t; ++i)
      for (int64_t c = 0; c < e; ++c) {
        int64_t sum = 0;
        for (int64_t j = 0; j < s; ++j) {
          int64_t score = 0;
          for (int64_t f = 0; f < d; ++f) score += sign_of(q[(head * t + i) * d + f]) * sign_of(k[(head * s + j) * d + f]);
          if ((strict ? score > 0 : score >= 0) && (!masked || node.inputs[3]->bytes[i * s + j]))
            sum += sign_of(v[(head * s + j) * e + c]);
        }
        node.wanted.push_back(static_cast<double>(sum));
      }
  return node;
}

Node stem() {
  Node node{"StemConv", {}, {}, {}, 0};
  const int64_t n = between(0, 2), c = between(1, 5), co = between(1, 40);
  int64_t k[2], s[2], in[2], conv[2], to[2], pool[2], pool_stride[2];
  Sizes pads(4), pool_pads(4);
  const bool pools = coin();
  for (size_t i = 0; i < 2; ++i) {
    s[i] = between(1, 3), k[i] = between(1, 4 * s[i]);
    pads[i] = between(0, 4), pads[i + 2] = between(0, 4);
    pool[i] = pools ? between(1, 4) : 1, pool_stride[i] = pools ? between(1, 4) : 1;
    if (pools) pool_pads[i] = between(0, pool[i] - 1), pool_pads[i + 2] = between(0, pool[i] - 1);
    const int64_t needed = std::max<int64_t>(1, pool[i] - pool_pads[i] - pool_pads[i + 2]);  // outputs before pooling
    in[i] = std::max<int64_t>(1, k[i] + (needed - 1) * s[i] - pads[i] - pads[i + 2]) + between(0, coin() ? 30 : 3);
    conv[i] = (in[i] + pads[i] + pads[i + 2] - k[i]) / s[i] + 1;
    to[i] = (conv[i] + pool_pads[i] + pool_pads[i + 2] - pool[i]) / pool_stride[i] + 1;
  }
  node.info.attributes = {{"kernel_shape", Sizes{k[0], k[1]}}, {"strides", Sizes{s[0], s[1]}}, {"pads", pads}};
  if (pools) {
    node.info.attributes["pool_shape"] = Sizes{pool[0], pool[1]};
    node.info.attributes["pool_strides"] = Sizes{pool_stride[0], pool_stride[1]};
    node.info.attributes["pool_pads"] = pool_pads;
  }
  const char* const activations[] = {"", "relu", "prelu", "clip"};
  const std::string activation = activations[between(0, 3)];
  node.info.attributes["activation"] = activation;
  node.info.attributes["clip_min"] = -1.0f, node.info.attributes["clip_max"] = 1.5f;
  node.inputs.push_back(normal({n, c, in[0], in[1]}));
  node.inputs.push_back(normal({co, c, k[0], k[1]}));
  node.inputs.push_back(coin() ? normal({co}) : nullptr);
  node.inputs.push_back(activation == "prelu" ? normal({coin() ? 1 : co}) : nullptr);
  const Value *bias = node.inputs[2].get(), *slope = node.inputs[3].get();
  const float *x = floats(*node.inputs[0]), *w = floats(*node.inputs[1]);
  double largest = 1.0;
  for (int64_t plane = 0; plane < n * co; ++plane) {
    const int64_t b = plane / co, o = plane % co;
    std::vector<double> before;
    for (int64_t y = 0; y < conv[0]; ++y)
      for (int64_t z = 0; z < conv[1]; ++z) {
        double v = bias ? floats(*bias)[o] : 0.0;
        for (int64_t ci = 0; ci < c; ++ci)
          for (int64_t ky = 0; ky < k[0]; ++ky)
            for (int64_t kx = 0; kx < k[1]; ++kx) {
              const int64_t row = y * s[0] + ky - pads[0], column = z * s[1] + kx - pads[1];
              if (row < 0 || row >= in[0] || column < 0 || column >= in[1]) continue;
              v += static_cast<double>(x[((b * c + ci) * in[0] + row) * in[1] + column]) * w[((o * c + ci) * k[0] + ky) * k[1] + kx];
            }
        largest = std::max(largest, std::fabs(v));
        if (activation == "relu") v = std::max(v, 0.0);
        if (activation == "prelu" && v < 0) v *= floats(*slope)[slope->info.sizes[0] == 1 ? 0 : o];
        if (activation == "clip") v = std::clamp(v, -1.0, 1.5);
        before.push_back(v);
      }
    for (int64_t y = 0; y < to[0]; ++y)
      for (int64_t z = 0; z < to[1]; ++z) {
        double most = -INFINITY;
        for (int64_t py = y * pool_stride[0] - pool_pads[0], end = py + pool[0]; py < end; ++py)
          for (int64_t px = z * pool_stride[1] - pool_pads[1], stop = px + pool[1]; px < stop; ++px)
            if (py >= 0 && py < conv[0] && px >= 0 && px < conv[1]) most = std::max(most, before[static_cast<size_t>(py * conv[1] + px)]);
        node.wanted.push_back(most);
      }
  }
  node.tolerance = 1e-5 * largest;
  return node;
}

int64_t strange() {
  static const int64_t values[] = {-1, 0, 1, 2, 3, 7, 64, 1000, 1 << 20, (int64_t{1} << 31) - 1, int64_t{1} << 31,
                                   int64_t{1} << 32, int64_t{1} << 62, INT64_MAX, INT64_MIN, -5};
  return values[between(0, std::size(values) - 1)];
}

// Changes something; what the node then gives is not known.
void spoil(Node& node) {
  node.wanted.clear();
  if (node.info.attributes.empty()) node.info.attributes["opset"] = int64_t{1};
  const auto some_input = [&]() -> std::unique_ptr<Value>& {
    return node.inputs[static_cast<size_t>(between(0, static_cast<int64_t>(node.inputs.size()) - 1))];
  };
  auto at = node.info.attributes.begin();
  std::advance(at, between(0, static_cast<int64_t>(node.info.attributes.size()) - 1));
  switch (between(0, 7)) {
    case 0: at->second = strange(); return;
    case 1:
      if (auto* list = std::get_if<Sizes>(&at->second); list && !list->empty())
        (*list)[static_cast<size_t>(between(0, static_cast<int64_t>(list->size()) - 1))] = strange();
      else
        at->second = strange();
      return;
    case 2: {
      const Attribute other[] = {strange(), 0.5f, std::string("nonsense"), Sizes{strange(), strange(), strange()}, Sizes()};
      at->second = other[between(0, 4)];
      return;
    }
    case 3: node.info.attributes.erase(at); return;
    case 4: some_input() = nullptr; return;
    case 5:
    case 6: {  // another shape, with data of its own
      auto& input = some_input();
      if (!input) return;
      Sizes sizes = input->info.sizes;
      if (sizes.empty() || between(0, 3) == 0) sizes.push_back(coin() ? 1 : strange());
      else if (between(0, 3) == 0) sizes.pop_back();
      else sizes[static_cast<size_t>(between(0, static_cast<int64_t>(sizes.size()) - 1))] = coin() ? between(0, 9) : strange();
      input = value(between(0, 5) ? input->info.type : kUint8, sizes);
      return;
    }
    default: {  // bits where there should be none, or other weights
      auto& input = some_input();
      if (input && input->info.type == kUint8 && input->bytes)
        for (int64_t i = 0; i < input->info.sizes[0] * (input->info.sizes.size() > 1 ? input->info.sizes[1] : 1); ++i)
          input->bytes[i] = static_cast<char>(between(0, 255));
      else
        node.info.attributes["opset"] = strange();
    }
  }
}

// Creates and runs the node. True if both succeed.
bool run(Node& node, KernelContext& context) {
  const CustomOp* op = *std::find_if(the_domain.ops.begin(), the_domain.ops.end(),
                                     [&](const CustomOp* o) { return std::strcmp(o->name(o), node.op) == 0; });
  const bool good = !node.wanted.empty();
  const auto judged = [&](Status* status) {
    if (!status) return true;
    if (status->message.rfind("bibench::", 0) != 0) fail("a status without the operator's name: " + status->message);
    if (good) fail("a good node was refused: " + status->message);
    delete status;
    return false;
  };
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const bool weight = i == 1 && std::strcmp(node.op, "StemConv") == 0;
    if (node.inputs[i] && (weight || node.inputs[i]->info.type == kUint8)) node.info.constants[i] = node.inputs[i].get();
    context.inputs.push_back(node.inputs[i].get());
  }
  void* kernel = nullptr;
  if (!judged(op->create(op, &api, &node.info, &kernel))) return false;
  const bool done = judged(op->compute(kernel, &context));
  op->destroy(kernel);
  return done;
}

void check_registration() {
  current = "registration";
  const ApiBase base = {[](uint32_t version) -> const Api* { return version <= kApiVersion ? &api : nullptr; }, [] { return "1.21"; }};
  SessionOptions options, other;
  const auto ok = [](Status* status) {
    if (status) fail(status->message);
  };
  ok(RegisterCustomOps(&options, &base)), ok(RegisterCustomOps(&options, &base)), ok(RegisterCustomOps(&other, &base));
  if (options.domains != 1 || other.domains != 1 || the_domain.ops.size() != 4) fail("not registered once");
  options.config["bibench.library"] = "/elsewhere/libbibench_ort.so (version 0)";
  const auto refused = [](Status* status, const std::string& words) {
    if (!status || status->message.find(words) == std::string::npos) fail("expected: " + words);
    delete status;
  };
  refused(RegisterCustomOps(&options, &base), "two libraries register");
  const ApiBase old = {[](uint32_t version) -> const Api* { return version <= 20 ? &api : nullptr; }, [] { return "1.20.1"; }};
  refused(RegisterCustomOps(&other, &old), "expected ONNX Runtime 1.21 or newer, got 1.20.1");
}

void check_nodes(const Kernels& kernels, int cases) {
  int refused = 0, spoiled = 0;
  for (int number = 0; number < cases; ++number) {
    Node (*const makers[])() = {convolution, linear, attention, stem};
    Node node = makers[number % 4]();
    current = std::string(kernels.name) + " " + node.op + " case " + std::to_string(number);
    const bool good = coin();
    if (!good)
      for (int64_t times = between(1, 2); times > 0; --times) spoil(node);
    KernelContext context;
    context.threads = static_cast<int>(between(1, 3));
    const bool done = run(node, context);
    spoiled += !good, refused += !good && !done;
    if (!good) continue;
    const float* got = floats(*context.output);
    for (size_t i = 0; i < node.wanted.size(); ++i) {
      const double wanted = node.wanted[i], margin = node.tolerance * std::max(1.0, std::fabs(wanted));
      if (!(std::fabs(got[i] - wanted) <= margin))
        fail(std::to_string(i) + ": got " + std::to_string(got[i]) + ", not " + std::to_string(wanted));
    }
  }
  std::printf("%s: operators as defined on %d random nodes; %d of %d spoiled nodes refused\n", kernels.name, cases - spoiled,
              refused, spoiled);
}

}  // namespace

int main(int argc, char** argv) {
  const int cases = argc > 1 ? std::atoi(argv[1]) : 800;
  make_api();
  check_registration();
  for (const Kernels* kernels : available_kernels()) {
    random_bits.seed(argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 1);
    use_kernels(*kernels);
    check_nodes(*kernels, cases);
  }
  return 0;
}

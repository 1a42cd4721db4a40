// What an update of small networks spends its time on, as plain loops over vectors:
//
//   chain, chain_backward       linear layers with ReLUs between them, and their gradients
//   decide, decide_backward     routing logits -> chosen sources, their weights, which ResRouting lets be optimised
//   stack, stack_backward       D2R's modules 2..N and the output's mix (networks/module_stack.py holds the formulas)
//
// PyTorch's operators compute the same (networks/layers.py, routing.py, module_stack.py) and are the reference: they
// serve wherever this file was not compiled. All arrays are row-major; a `stride` counts elements. Sums are taken in a
// fixed order, which depends on the sizes, the vector width and the number of threads and on nothing else.
//
// The vector types are GCC's and Clang's own, so that one source serves every processor; the build compiles it once
// for each width (build.py).

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace {

// A tile of a product is held in registers: TILE_ROWS rows of two vectors, one more for each factor's part.
#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64, TILE_ROWS = 12;  // of 32 registers
#elif defined(__AVX2__)
constexpr int VECTOR_BYTES = 32, TILE_ROWS = 6;  // of 16
#else
constexpr int VECTOR_BYTES = 16, TILE_ROWS = 6;
#endif

constexpr long BLOCK_ROWS = 48;  // go through all modules while they are in the cache; a multiple of TILE_ROWS
constexpr long CHAIN_ROWS = 96;  // the same for all layers of a chain
constexpr double WORTH_A_THREAD = 2e7;  // multiply-adds below which starting a thread takes longer than it saves

template <class T> struct Vectors;
template <> struct Vectors<float> {
  typedef float Values __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
  typedef int32_t Integers __attribute__((vector_size(VECTOR_BYTES), aligned(4), may_alias));
  typedef int32_t Integer;
  static constexpr int MANTISSA = 23, BIAS = 127, TERMS = 7;
  static constexpr float LEAST = -87.0f, ROUND = 12582912.0f, LN2_HIGH = 0.693145751953125f, LN2_LOW = 1.42860677e-6f;
};
template <> struct Vectors<double> {
  typedef double Values __attribute__((vector_size(VECTOR_BYTES), aligned(8), may_alias));
  typedef int64_t Integers __attribute__((vector_size(VECTOR_BYTES), aligned(8), may_alias));
  typedef int64_t Integer;
  static constexpr int MANTISSA = 52, BIAS = 1023, TERMS = 13;
  static constexpr double LEAST = -708.0, ROUND = 6755399441055744.0, LN2_HIGH = 6.93147180369123816490e-01,
                          LN2_LOW = 1.90821492927058770002e-10;
};
template <class T> using V = typename Vectors<T>::Values;
template <class T> using I = typename Vectors<T>::Integers;
template <class T> constexpr long LANES = VECTOR_BYTES / sizeof(T);
template <class T> constexpr long PANEL = 2 * LANES<T>;  // columns of a tile

template <class T> V<T> everywhere(T value) { return V<T>{} + value; }
template <class T> I<T> everywhere_index(long index) {
  return I<T>{} + static_cast<typename Vectors<T>::Integer>(index);
}

long round_up(long n, long unit) { return (n + unit - 1) / unit * unit; }

template <class T> V<T> &vector_at(T *p) { return *reinterpret_cast<V<T> *>(p); }
template <class T> const V<T> &vector_at(const T *p) { return *reinterpret_cast<const V<T> *>(p); }

template <class T> V<T> load(const T *p, long valid) {
  if (valid >= LANES<T>) return vector_at(p);
  V<T> v{};
  for (long lane = 0; lane < valid; lane++) v[lane] = p[lane];
  return v;
}

template <class T> void store(T *p, V<T> v, long valid) {
  if (valid >= LANES<T>) {
    vector_at(p) = v;
    return;
  }
  for (long lane = 0; lane < valid; lane++) p[lane] = v[lane];
}

// The sum of a vector's lanes, of halves of it, of halves of these and so on.
template <class T, long LANES_LEFT = LANES<T>> T sum_of(const void *lanes) {
  if constexpr (LANES_LEFT == 1) {
    return *static_cast<const T *>(lanes);
  } else {
    typedef T Half __attribute__((vector_size(LANES_LEFT / 2 * sizeof(T))));
    Half low, high;
    std::memcpy(&low, lanes, sizeof low);
    std::memcpy(&high, static_cast<const char *>(lanes) + sizeof low, sizeof high);
    low += high;
    return sum_of<T, LANES_LEFT / 2>(&low);
  }
}

struct Free {
  void operator()(void *p) const { std::free(p); }
};

// Uninitialised memory that begins at a cache line.
template <class T> struct Buffer {
  std::unique_ptr<T[], Free> memory;
  explicit Buffer(long count)
      : memory(static_cast<T *>(std::aligned_alloc(64, round_up(count * sizeof(T) + 64, 64)))) {
    if (memory == nullptr) std::abort();
  }
  T *get() const { return memory.get(); }
  operator T *() const { return memory.get(); }
};

// Calls work(begin, end) for ranges of [0, count) that begin at multiples of `unit`, one a thread.
template <class Work> void in_threads(int threads, long count, long unit, const Work &work) {
  const long units = (count + unit - 1) / unit, parts = threads < units ? threads : units;
  if (parts <= 1) return work(0, count);
  const long step = (units + parts - 1) / parts * unit;
  std::vector<std::thread> others;
  for (long begin = step; begin < count; begin += step)
    others.emplace_back(work, begin, begin + step < count ? begin + step : count);
  work(0, step);
  for (auto &other : others) other.join();
}

int threads_worth(int threads, double multiply_adds) {
  const double worth = multiply_adds / WORTH_A_THREAD;
  return worth < threads ? (worth < 1 ? 1 : static_cast<int>(worth)) : threads;
}

// ---- products ------------------------------------------------------------------------------------------------------

// M rows and PANEL columns of C = start + A B, the ReLU of it if asked for. A(m, k) lies at a[m * a_row + k * a_step],
// rows of B are b_row apart; `valid` columns of start and C exist. Without `start` the sum begins at 0.
template <class T, int M>
void tile(long depth, const T *a, long a_row, long a_step, const T *b, long b_row, const T *start, long start_row, T *c,
          long c_row, long valid, bool relu) {
  V<T> sum[M][2];
  for (int m = 0; m < M; m++)
    for (int half = 0; half < 2; half++)
      sum[m][half] = start ? load(start + m * start_row + half * LANES<T>, valid - half * LANES<T>) : V<T>{};
  for (long k = 0; k < depth; k++) {
    const V<T> left = vector_at(b + k * b_row), right = vector_at(b + k * b_row + LANES<T>);
#pragma GCC unroll 16
    for (int m = 0; m < M; m++) {
      const T factor = a[m * a_row + k * a_step];
      sum[m][0] += factor * left;
      sum[m][1] += factor * right;
    }
  }
  for (int m = 0; m < M; m++)
    for (int half = 0; half < 2; half++) {
      const V<T> value = sum[m][half];
      store(c + m * c_row + half * LANES<T>, relu ? (value < 0 ? V<T>{} : value) : value, valid - half * LANES<T>);
    }
}

// The right factor of a product, cut into panels of PANEL columns.
template <class T> struct Panels {
  const T *at;
  long row, panel;  // distance of a panel's rows, and of panels
};

// C [rows, columns] = start + A B; see `tile`.
template <class T>
void multiply(long rows, long columns, long depth, const T *a, long a_row, long a_step, Panels<T> b, const T *start,
              long start_row, T *c, long c_row, bool relu = false) {
  for (long n = 0; n < columns; n += PANEL<T>) {
    const T *panel = b.at + n / PANEL<T> * b.panel;
    long m = 0;
    const auto next = [&](auto height) {
      constexpr int M = decltype(height)::value;
      tile<T, M>(depth, a + m * a_row, a_row, a_step, panel, b.row, start ? start + m * start_row + n : nullptr,
                 start_row, c + m * c_row + n, c_row, columns - n, relu);
      m += M;
    };
    while (m + TILE_ROWS <= rows) next(std::integral_constant<int, TILE_ROWS>());
    if (m + 8 <= rows && TILE_ROWS > 8) next(std::integral_constant<int, 8>());
    if (m + 4 <= rows) next(std::integral_constant<int, 4>());
    if (m + 2 <= rows) next(std::integral_constant<int, 2>());
    if (m + 1 <= rows) next(std::integral_constant<int, 1>());
  }
}

// Copy B [depth, columns], B(k, n) at b[k * row + n * column], into panels filled up with zeros.
template <class T> Panels<T> pack(long depth, long columns, const T *b, long row, long column, T *panels) {
  for (long n = 0; n < columns; n += PANEL<T>) {
    T *panel = panels + n * depth;
    const long valid = columns - n < PANEL<T> ? columns - n : PANEL<T>;
    if (column == 1) {
      for (long k = 0; k < depth; k++) {
        store(panel + k * PANEL<T>, load(b + k * row + n, valid), LANES<T>);
        store(panel + k * PANEL<T> + LANES<T>, load(b + k * row + n + LANES<T>, valid - LANES<T>), LANES<T>);
      }
      continue;
    }
    for (long i = 0; i < PANEL<T>; i++)
      for (long k = 0; k < depth; k++) panel[k * PANEL<T> + i] = i < valid ? b[k * row + (n + i) * column] : 0;
  }
  return {panels, PANEL<T>, PANEL<T> * depth};
}

template <class T> Buffer<T> panels_for(long depth, long columns) {
  return Buffer<T>(depth * round_up(columns, PANEL<T>));
}

// to [rows, columns] = the sum of `parts` arrays that lie `apart`, whose rows are `row` apart.
template <class T> void add_parts(long parts, long apart, long rows, long columns, const T *from, long row, T *to) {
  for (long r = 0; r < rows; r++)
    for (long d = 0; d < columns; d += LANES<T>) {
      V<T> total{};
      for (long part = 0; part < parts; part++) total += load(from + part * apart + r * row + d, columns - d);
      store(to + r * columns + d, total, columns - d);
    }
}

// ---- chains of linear layers ---------------------------------------------------------------------------------------

// Layers l = 1..L of each member, h_l = ReLU(W_l h_(l-1) + b_l), the last without the ReLU unless `relu_last`. What goes
// in is h_0 = x, times a vector of the row's task if there is a `scale`, then its ReLU if `relu_first`. Blocks of rows go
// through all layers while they are in the cache.
template <class T> struct Chain {
  long ensemble, rows, tasks, layers, x_member;  // x_member is 0 where members share their input
  bool relu_first, relu_last;
  const long *widths;                      // of h_0, ..., h_L
  const T *const *weight, *const *bias;    // of each layer, [member, outputs, inputs] and [member, outputs]
  const T *scale;                          // [member, task, inputs] or null; row r belongs to task r % tasks

  long wide(long l) const { return round_up(widths[l], PANEL<T>); }
  long blocks() const { return (rows + CHAIN_ROWS - 1) / CHAIN_ROWS; }
  long widest() const {
    long most = 0;
    for (long l = 0; l <= layers; l++) most = wide(l) > most ? wide(l) : most;
    return most;
  }
  // Layer l's place in an array that holds of_layer(1), of_layer(2), ...
  template <class Size> static long place(long l, const Size &of_layer) {
    long before = 0;
    for (long i = 1; i < l; i++) before += of_layer(i);
    return before;
  }
  // h_1, ..., h_(L-1), each [member, row, wide], are kept for the way back.
  long hidden_at(long l) const {
    return place(l, [this](long i) { return ensemble * rows * wide(i); });
  }
  long kept() const { return hidden_at(layers); }
  int threads_of(int threads) const {
    double multiply_adds = 0;
    for (long l = 1; l <= layers; l++) multiply_adds += double(ensemble) * rows * widths[l] * widths[l - 1];
    return threads_worth(threads, multiply_adds);
  }
  template <class Work> void in_blocks(long begin, long end, const Work &work) const {
    for (long b = begin; b < end; b++) {
      const long first = b % blocks() * CHAIN_ROWS;
      work(b / blocks(), first, rows - first < CHAIN_ROWS ? rows - first : CHAIN_ROWS);
    }
  }

  void enter(long e, long row, long size, const T *x, T *h) const {
    const long inputs = widths[0];
    for (long r = 0; r < size; r++) {
      const T *from = x + e * x_member + (row + r) * inputs;
      const T *factor = scale ? scale + (e * tasks + (row + r) % tasks) * inputs : nullptr;
      for (long d = 0; d < wide(0); d += LANES<T>) {
        V<T> value = load(from + d, inputs - d);
        if (factor) value *= load(factor + d, inputs - d);
        vector_at(h + r * wide(0) + d) = relu_first ? (value < 0 ? V<T>{} : value) : value;
      }
    }
  }

  // `keep` is null where no way back will come.
  void forward(const T *x, T *y, T *keep, int threads) const {
    const auto size_of = [this](long l) { return ensemble * widths[l - 1] * wide(l); };
    const Buffer<T> matrices(place(layers + 1, size_of));
    for (long l = 1; l <= layers; l++)
      for (long e = 0; e < ensemble; e++)
        pack(widths[l - 1], widths[l], weight[l - 1] + e * widths[l] * widths[l - 1], 1L, widths[l - 1],
             matrices + place(l, size_of) + e * widths[l - 1] * wide(l));
    in_threads(threads_of(threads), ensemble * blocks(), 1, [&](long begin, long end) {
      const long most = widest();
      const Buffer<T> entered(CHAIN_ROWS * wide(0)), passing(keep ? 0 : 2 * CHAIN_ROWS * most);
      const Buffer<T> offset(most);
      in_blocks(begin, end, [&](long e, long row, long size) {
        enter(e, row, size, x, entered);
        const T *from = entered;
        for (long l = 1; l <= layers; l++) {
          const bool last = l == layers;
          T *to = last   ? y + (e * rows + row) * widths[l]
                  : keep ? keep + hidden_at(l) + (e * rows + row) * wide(l)
                         : passing + l % 2 * CHAIN_ROWS * most;
          for (long d = 0; d < wide(l); d += LANES<T>)
            vector_at(offset + d) = load(bias[l - 1] + e * widths[l] + d, widths[l] - d);
          const T *matrix = matrices + place(l, size_of) + e * widths[l - 1] * wide(l);
          multiply<T>(size, last ? widths[l] : wide(l), widths[l - 1], from, wide(l - 1), 1,
                      {matrix, PANEL<T>, PANEL<T> * widths[l - 1]}, offset, 0, to, last ? widths[l] : wide(l),
                      !last || relu_last);
          from = to;
        }
      });
    });
  }

  // Gradients of the input [member, row, ...], of the scale and of the parameters of all layers; what is not wanted is
  // null. Members that share their input sum its gradient.
  void backward(const T *x, const T *y, const T *keep, const T *grad_y, T *grad_x, T *grad_scale,
                T *const *grad_weight, T *const *grad_bias, int threads) const {
    const bool of_input = grad_x || grad_scale;
    const auto size_of = [this](long l) { return ensemble * widths[l] * wide(l - 1); };
    const Buffer<T> matrices(place(layers + 1, size_of));
    for (long l = of_input ? 1 : 2; l <= layers; l++)
      for (long e = 0; e < ensemble; e++)
        pack(widths[l], widths[l - 1], weight[l - 1] + e * widths[l] * widths[l - 1], widths[l - 1], 1L,
             matrices + place(l, size_of) + e * widths[l] * wide(l - 1));
    // each thread sums gradients of its own: of matrices and biases, layer by layer, then of the scale
    const auto sum_size = [this](long l) { return ensemble * (widths[l] * wide(l - 1) + wide(l)); };
    const long of_scale = grad_weight ? place(layers + 1, sum_size) : 0;
    const long sums = of_scale + (grad_scale ? ensemble * tasks * wide(0) : 0);
    const long parts = threads_of(threads), all_blocks = ensemble * blocks(), step = (all_blocks + parts - 1) / parts;
    const Buffer<T> sum_of_parts(parts * sums);
    for (long i = 0; i < parts * sums; i++) sum_of_parts[i] = 0;
    const bool shared = grad_x && ensemble > 1 && !x_member;
    const Buffer<T> of_members(shared ? ensemble * rows * widths[0] : 0);
    in_threads(parts, all_blocks, step, [&](long begin, long end) {
      T *const sum = sum_of_parts + begin / step * sums;
      const long most = widest();
      const Buffer<T> entered(CHAIN_ROWS * wide(0)), gradients(2 * CHAIN_ROWS * most);
      in_blocks(begin, end, [&](long e, long row, long size) {
        T *g = gradients, *next = gradients + CHAIN_ROWS * most;
        for (long r = 0; r < size; r++)
          for (long d = 0; d < wide(layers); d += LANES<T>) {
            const long at = (e * rows + row + r) * widths[layers] + d, valid = widths[layers] - d;
            const V<T> given = load(grad_y + at, valid);
            vector_at(g + r * wide(layers) + d) = relu_last ? (load(y + at, valid) <= 0 ? V<T>{} : given) : given;
          }
        enter(e, row, size, x, entered);
        for (long l = layers; l > 0; l--) {
          const T *from = l == 1 ? entered.get() : keep + hidden_at(l - 1) + (e * rows + row) * wide(l - 1);
          if (grad_weight) {
            T *matrix = sum + place(l, sum_size) + e * (widths[l] * wide(l - 1) + wide(l));
            T *offset = matrix + widths[l] * wide(l - 1);
            multiply<T>(widths[l], wide(l - 1), size, g, 1, wide(l), {from, wide(l - 1), PANEL<T>}, matrix, wide(l - 1),
                        matrix, wide(l - 1));
            for (long d = 0; d < wide(l); d += LANES<T>) {
              V<T> total = vector_at(offset + d);
              for (long r = 0; r < size; r++) total += vector_at(g + r * wide(l) + d);
              vector_at(offset + d) = total;
            }
          }
          if (l == 1 && !of_input) break;
          const T *matrix = matrices + place(l, size_of) + e * widths[l] * wide(l - 1);
          multiply<T>(size, wide(l - 1), widths[l], g, wide(l), 1, {matrix, PANEL<T>, PANEL<T> * widths[l]},
                      static_cast<const T *>(nullptr), 0, next, wide(l - 1));
          if (l > 1 || relu_first)
            for (long i = 0; i < size * wide(l - 1); i += LANES<T>)
              vector_at(next + i) = vector_at(from + i) <= 0 ? V<T>{} : vector_at(next + i);
          std::swap(g, next);
        }
        if (of_input)
          leave(e, row, size, x, g, shared ? of_members + e * rows * widths[0] : grad_x ? grad_x + e * x_member : nullptr,
                grad_scale ? sum + of_scale : nullptr);
      });
    });
    for (long l = 1; grad_weight && l <= layers; l++)
      for (long e = 0; e < ensemble; e++) {
        const T *from = sum_of_parts + place(l, sum_size) + e * (widths[l] * wide(l - 1) + wide(l));
        const long matrix = widths[l] * widths[l - 1];
        add_parts(parts, sums, widths[l], widths[l - 1], from, wide(l - 1), grad_weight[l - 1] + e * matrix);
        add_parts(parts, sums, 1, widths[l], from + widths[l] * wide(l - 1), wide(l), grad_bias[l - 1] + e * widths[l]);
      }
    if (grad_scale) add_parts(parts, sums, ensemble * tasks, widths[0], sum_of_parts + of_scale, wide(0), grad_scale);
    const long one = rows * widths[0];
    if (shared) add_parts(ensemble, one, 1, one, of_members.get(), one, grad_x);
  }

  // From the gradient of h_0, its ReLU undone, to those of x and of the scale.
  void leave(long e, long row, long size, const T *x, const T *g, T *grad_x, T *grad_scale) const {
    const long inputs = widths[0];
    for (long r = 0; r < size; r++) {
      const long task = e * tasks + (row + r) % tasks;
      for (long d = 0; d < wide(0); d += LANES<T>) {
        V<T> sent = vector_at(g + r * wide(0) + d);
        const long valid = inputs - d;
        if (grad_scale)
          vector_at(grad_scale + task * wide(0) + d) += sent * load(x + e * x_member + (row + r) * inputs + d, valid);
        if (scale) sent *= load(scale + task * inputs + d, valid);
        if (grad_x) store(grad_x + (row + r) * inputs + d, sent, valid);
      }
    }
  }
};

// ---- routing decisions ---------------------------------------------------------------------------------------------

// e^x for x <= 0: 2^n times the Taylor series of the rest, which is at most ln 2 / 2.
template <class T> V<T> exponential(V<T> x) {
  using C = Vectors<T>;
  const V<T> bounded = x < C::LEAST ? everywhere<T>(C::LEAST) : x;
  const V<T> n = (bounded * T(1.4426950408889634) + C::ROUND) - C::ROUND;
  const V<T> rest = (bounded - n * C::LN2_HIGH) - n * C::LN2_LOW;
  V<T> series = everywhere<T>(1);
  for (int k = C::TERMS; k > 0; k--) series = series * (rest * T(1.0 / k)) + T(1);
  const I<T> power = (__builtin_convertvector(n, I<T>) + C::BIAS) << C::MANTISSA;
  return x < C::LEAST ? V<T>{} : series * reinterpret_cast<const V<T> &>(power);
}

// A matrix [member, column, row] of any layout.
template <class T> struct Columns {
  const T *at;
  long member, column, row;
  // LANES rows of one column; rows that do not exist repeat the last.
  V<T> rows_at(long e, long c, long first, long valid) const {
    const T *p = at + e * member + c * column + first * row;
    if (row == 1 && valid >= LANES<T>) return vector_at(p);
    V<T> v;
    for (long lane = 0; lane < LANES<T>; lane++) v[lane] = p[(lane < valid ? lane : valid - 1) * row];
    return v;
  }
};

template <class T> struct Best {
  I<T> index;
  V<T> value;
};

// The largest of `count` scores that is not among those `taken`, of equal ones the first. Where a score is not a number
// the last is chosen and its value is no number, so that it reaches the loss.
template <class T>
Best<T> best_of(const V<T> *score, const V<T> *value, long count, const I<T> *taken, long how_many) {
  V<T> highest = everywhere<T>(-__builtin_inf());
  Best<T> best{everywhere_index<T>(count - 1), value[count - 1]};
  I<T> wrong{};
  for (long j = 0; j < count; j++) {
    const I<T> here = everywhere_index<T>(j);
    I<T> better = score[j] > highest;
    for (long t = 0; t < how_many; t++) better &= taken[t] != here;
    highest = better ? score[j] : highest;
    best.index = better ? here : best.index;
    best.value = better ? value[j] : best.value;
    wrong |= score[j] != score[j];
  }
  best.index = wrong ? everywhere_index<T>(count - 1) : best.index;
  best.value = wrong ? everywhere<T>(__builtin_nan("")) : best.value;
  return best;
}

// Sizes of a routing decision: N groups, of which group g chooses K of its first min(g + 1, in_use) candidates.
struct Groups {
  long count, in_use, top_k;
  long candidates(long g) const { return g + 1 < in_use ? g + 1 : in_use; }
  long first_logit(long g) const { return g * (g + 1) / 2; }
};

// Choose K sources for LANES rows of one group: the best by `score`, or those `given` (of one row at given[lane_step *
// lane + k]). Sets their numbers and their logits.
template <class T>
void choose(long count, long top_k, const V<T> *score, const V<T> *value, const uint8_t *given, long lane_step,
            long valid, I<T> *index, V<T> *chosen) {
  for (long k = 0; k < top_k; k++) {
    if (given) {
      for (long lane = 0; lane < LANES<T>; lane++)
        index[k][lane] = given[(lane < valid ? lane : valid - 1) * lane_step + k];
      chosen[k] = value[0];
      for (long j = 1; j < count; j++) chosen[k] = index[k] == everywhere_index<T>(j) ? value[j] : chosen[k];
    } else if (k < count) {
      const Best<T> best = best_of<T>(score, value, count, index, k);
      index[k] = best.index;
      chosen[k] = best.value;
    } else {
      index[k] = everywhere_index<T>(count - 1);
      chosen[k] = value[count - 1];
    }
  }
}

// Sums exp(value - highest) into `total`, each term going to `share` if that is wanted; returns the highest value.
template <class T> V<T> exponentials(long count, const V<T> *value, V<T> *share, V<T> &total) {
  V<T> highest = value[0];
  for (long j = 1; j < count; j++) highest = value[j] > highest ? value[j] : highest;
  total = V<T>{};
  for (long j = 0; j < count; j++) {
    const V<T> part = exponential<T>(value[j] - highest);
    if (share) share[j] = part;
    total += part;
  }
  return highest;
}

// `noise` is null for deterministic routes, `given` [row, group, K], those of members `given_member` apart, unless
// routes are replayed, `suitable` where nobody asks. Results are [member, group, K, row].
template <class T>
void decide(long ensemble, long rows, long tasks, Groups groups, Columns<T> logits, Columns<T> noise, const T *coldness,
            const uint8_t *given, long given_member, int64_t *sources, T *weights, uint8_t *suitable) {
  const long top_k = groups.top_k, all = groups.first_logit(groups.count);
  const Buffer<V<T>> value(all), noisy(noise.at ? all : 0), chosen(top_k), share(top_k);
  const Buffer<I<T>> index(top_k);
  for (long e = 0; e < ensemble; e++)
    for (long first = 0; first < rows; first += LANES<T>) {
      const long valid = rows - first < LANES<T> ? rows - first : LANES<T>;
      V<T> cold{};
      if (noise.at)
        for (long lane = 0; lane < LANES<T>; lane++) cold[lane] = coldness[(first + lane) % tasks];
      for (long c = 0; c < all; c++) {
        value[c] = logits.rows_at(e, c, first, valid);
        if (noise.at) noisy[c] = noise.rows_at(e, c, first, valid) + value[c] * cold;
      }
      for (long g = 0; g < groups.count; g++) {
        const long count = groups.candidates(g), distinct = top_k < count ? top_k : count;
        const V<T> *values = value + groups.first_logit(g), *scores = values;
        if (noise.at) scores = noisy + groups.first_logit(g);
        const uint8_t *of_rows = given ? given + e * given_member + (first * groups.count + g) * top_k : nullptr;
        choose<T>(count, top_k, scores, values, of_rows, groups.count * top_k, valid, index, chosen);
        V<T> of_chosen, of_all{}, highest{};
        exponentials<T>(distinct, chosen, share, of_chosen);
        if (suitable) highest = exponentials<T>(count, values, nullptr, of_all);
        const T least = 1.0f / (count + 1);  // rounded as PyTorch rounds it
        for (long k = 0; k < top_k; k++) {
          const long at = ((e * groups.count + g) * top_k + k) * rows + first;
          store(weights + at, k < distinct ? share[k] / of_chosen : V<T>{}, valid);
          for (long lane = 0; lane < valid; lane++) sources[at + lane] = index[k][lane];
          if (!suitable) continue;
          const I<T> enough = exponential<T>(chosen[k] - highest) / of_all > least;
          for (long lane = 0; lane < valid; lane++) suitable[at + lane] = enough[lane] != 0;
        }
      }
    }
}

// Gradient of the logits [member, row, logit] from that of the weights [member, group, K, row].
template <class T>
void decide_backward(long ensemble, long rows, Groups groups, const int64_t *sources, const T *weights,
                     const T *grad_weights, T *grad_logits) {
  const long top_k = groups.top_k, all = groups.first_logit(groups.count);
  for (long i = 0; i < ensemble * rows * all; i++) grad_logits[i] = 0;
  for (long e = 0; e < ensemble; e++)
    for (long g = 0; g < groups.count; g++) {
      const long count = groups.candidates(g), distinct = top_k < count ? top_k : count;
      const long at = (e * groups.count + g) * top_k * rows;
      for (long row = 0; row < rows; row++) {
        T mean = 0;
        for (long k = 0; k < distinct; k++) mean += weights[at + k * rows + row] * grad_weights[at + k * rows + row];
        T *gradient = grad_logits + (e * rows + row) * all + groups.first_logit(g);
        for (long k = 0; k < distinct; k++) {
          const long i = at + k * rows + row;
          gradient[sources[i]] += weights[i] * (grad_weights[i] - mean);
        }
      }
    }
}

// ---- the stack of modules ------------------------------------------------------------------------------------------

// Something that each chosen source of a row has, at [group, member, row, k].
template <class T> struct OfSources {
  const T *at;
  long group, member, row, k;
  const T *of_row(long e, long r) const { return at + e * member + r * row; }
  T get(const T *of_row, long g, long j) const { return of_row[g * group + j * k]; }
};

// WIDE: the padded width of a module where the compiler is to know it, or 0.
template <class T, long WIDE> struct Stack {
  long ensemble, rows, dim, count, top_k;
  bool residual;
  const T *weight, *bias;          // [member, count - 1, dim, dim] and [member, count - 1, dim]
  long weight_member, bias_member; // distance of members: there may be more modules than are in use
  OfSources<int64_t> sources;
  OfSources<T> weights;
  OfSources<uint8_t> suitable;     // at null: all are

  long width() const { return WIDE ? WIDE : round_up(dim, PANEL<T>); }
  long blocks() const { return (rows + BLOCK_ROWS - 1) / BLOCK_ROWS; }
  int threads_of(int threads) const { return threads_worth(threads, double(ensemble) * rows * count * dim * dim); }
  const T *matrix(long e, long i) const { return weight + e * weight_member + i * dim * dim; }
  const T *offset(long e, long i) const { return bias + e * bias_member + i * dim; }

  // x = the mix of `modules` [count, width] that group g of a row reads.
  void mix(long g, const int64_t *source, const T *share, const T *modules, T *x) const {
    for (long d = 0; d < width(); d += LANES<T>) {
      V<T> sum{};
      for (long k = 0; k < top_k; k++)
        sum += weights.get(share, g, k) * vector_at(modules + sources.get(source, g, k) * width() + d);
      vector_at(x + d) = sum;
    }
  }

  // Calls work(member, first row, number of rows) for every block between two.
  template <class Work> void in_blocks(long begin, long end, const Work &work) const {
    for (long b = begin; b < end; b++) {
      const long first = b % blocks() * BLOCK_ROWS;
      work(b / blocks(), first, rows - first < BLOCK_ROWS ? rows - first : BLOCK_ROWS);
    }
  }

  // Panels of the matrix of each member and module: transposed for the way forwards, as it is for the way back.
  Buffer<T> all_panels(bool forwards) const {
    const long size = dim * width();
    Buffer<T> panels(ensemble * (count - 1) * size);
    for (long e = 0; e < ensemble; e++)
      for (long i = 0; i < count - 1; i++)
        pack(dim, dim, matrix(e, i), forwards ? 1 : dim, forwards ? dim : 1, panels + (e * (count - 1) + i) * size);
    return panels;
  }
  Panels<T> panels_of(const Buffer<T> &panels, long e, long i) const {
    return {panels + (e * (count - 1) + i) * dim * width(), PANEL<T>, PANEL<T> * dim};
  }

  // `modules` [member, row, count, width] and `own` [member, row, count - 1, width], what modules computed themselves,
  // are kept for the way back, or null; without a shortcut they are the same and `own` is null.
  void forward(const T *first, T *out, T *modules, T *own, int threads) const {
    const Buffer<T> panels = all_panels(true);
    in_threads(threads_of(threads), ensemble * blocks(), 1, [&](long begin, long end) {
      const long wide = width();
      const Buffer<T> kept_modules(modules ? 0 : BLOCK_ROWS * count * wide), x(BLOCK_ROWS * wide);
      const Buffer<T> kept_own(own || !residual ? 0 : BLOCK_ROWS * (count - 1) * wide);
      const Buffer<T> offset_wide(wide);
      in_blocks(begin, end, [&](long e, long row, long size) {
        const long at = e * rows + row;
        T *m = modules ? modules + at * count * wide : kept_modules.get();
        T *y = !residual ? m + wide : own ? own + at * (count - 1) * wide : kept_own.get();
        const long y_row = residual ? (count - 1) * wide : count * wide;
        for (long r = 0; r < size; r++)
          for (long d = 0; d < wide; d += LANES<T>)
            vector_at(m + r * count * wide + d) = load(first + (at + r) * dim + d, dim - d);
        for (long g = 0; g < count; g++) {
          for (long r = 0; r < size; r++)
            mix(g, sources.of_row(e, row + r), weights.of_row(e, row + r), m + r * count * wide, x + r * wide);
          if (g == count - 1) break;
          for (long d = 0; d < wide; d += LANES<T>)
            vector_at(offset_wide + d) = load(offset(e, g) + d, dim - d);
          multiply<T>(size, wide, dim, x, wide, 1, panels_of(panels, e, g), offset_wide, 0, y + g * wide, y_row, true);
          for (long r = 0; residual && r < size; r++)
            for (long d = 0; d < wide; d += LANES<T>)
              vector_at(m + (r * count + g + 1) * wide + d) =
                  vector_at(y + r * y_row + g * wide + d) + vector_at(x + r * wide + d);
        }
        for (long r = 0; r < size; r++)
          for (long d = 0; d < dim; d += LANES<T>)
            store(out + (at + r) * dim + d, vector_at(x + r * wide + d), dim - d);
      });
    });
  }

  // Gradients of everything; those of parameters [member, count - 1, ...] may be null. That of the weights is laid out
  // as [member, count, K, row].
  void backward(const T *modules, const T *own, const T *grad_out, T *grad_first, T *grad_weights, T *grad_weight,
                T *grad_bias, int threads) const {
    const long wide = width(), matrices = ensemble * (count - 1);
    const Buffer<T> panels = all_panels(false);
    const long parts = threads_of(threads), all_blocks = ensemble * blocks(), step = (all_blocks + parts - 1) / parts;
    // each thread sums gradients of parameters of its own: of a matrix dim rows, and behind them one of the bias
    const long sums = grad_weight ? matrices * (dim + 1) * wide : 0;
    const Buffer<T> of_parameters(parts * sums);
    for (long i = 0; i < parts * sums; i++) of_parameters[i] = 0;
    in_threads(parts, all_blocks, step, [&](long begin, long end) {
      T *const sum = of_parameters + begin / step * sums;
      // A and G of the formulas; where every source is suitable they are one
      const Buffer<T> whole(BLOCK_ROWS * count * wide), open(suitable.at ? BLOCK_ROWS * count * wide : 0);
      T *const a = whole, *const g = suitable.at ? open.get() : a;
      const Buffer<T> x(BLOCK_ROWS * wide), through(BLOCK_ROWS * wide), into(BLOCK_ROWS * wide);
      in_blocks(begin, end, [&](long e, long row, long size) {
        const long at = e * rows + row, row_step = count * wide;
        const T *m = modules + at * row_step;
        const T *y = residual ? own + at * (count - 1) * wide : m + wide;
        const long y_row = residual ? (count - 1) * wide : row_step;
        for (long i = 0; i < size * row_step; i += LANES<T>) vector_at(a + i) = vector_at(g + i) = V<T>{};
        for (long r = 0; r < size; r++)
          for (long d = 0; d < wide; d += LANES<T>)
            vector_at(into + r * wide + d) = load(grad_out + (at + r) * dim + d, dim - d);
        for (long target = count; target-- > 0;) {
          if (target < count - 1) {
            const long module = target + 1, i = e * (count - 1) + target;
            for (long r = 0; r < size; r++)
              for (long d = 0; d < wide; d += LANES<T>)
                vector_at(through + r * wide + d) = vector_at(y + r * y_row + target * wide + d) <= 0
                                                        ? V<T>{}
                                                        : vector_at(g + r * row_step + module * wide + d);
            if (grad_weight) {
              T *of_matrix = sum + i * (dim + 1) * wide, *of_bias = of_matrix + dim * wide;
              for (long r = 0; r < size; r++) {
                mix(target, sources.of_row(e, row + r), weights.of_row(e, row + r), m + r * row_step, x + r * wide);
                for (long d = 0; d < wide; d += LANES<T>)
                  vector_at(of_bias + d) += vector_at(through + r * wide + d);
              }
              multiply<T>(dim, wide, size, through, 1, wide, {x, wide, PANEL<T>}, of_matrix, wide, of_matrix, wide);
            }
            multiply<T>(size, wide, dim, through, wide, 1, panels_of(panels, e, target),
                        residual ? a + module * wide : nullptr, row_step, into, wide);
          }
          for (long r = 0; r < size; r++)
            spread(target, e, row + r, m + r * row_step, into + r * wide, a + r * row_step, g + r * row_step,
                   grad_weights + (e * count + target) * top_k * rows + row + r);
        }
        for (long r = 0; r < size; r++)
          for (long d = 0; d < dim; d += LANES<T>)
            store(grad_first + (at + r) * dim + d, vector_at(g + r * row_step + d), dim - d);
      });
    });
    for (long i = 0; grad_weight && i < matrices; i++) {
      const T *of_matrix = of_parameters + i * (dim + 1) * wide;
      add_parts(parts, sums, dim, dim, of_matrix, wide, grad_weight + i * dim * dim);
      add_parts(parts, sums, 1, dim, of_matrix + dim * wide, wide, grad_bias + i * dim);
    }
  }

  // What target's gradient `into` (T) gives to the sources of one row, and their weights' gradients.
  void spread(long target, long e, long row, const T *m, const T *into, T *a, T *g, T *grad_weights) const {
    const int64_t *source = sources.of_row(e, row);
    const T *share = weights.of_row(e, row);
    const uint8_t *may = suitable.at ? suitable.of_row(e, row) : nullptr;
    const bool instead = residual && target < count - 1;  // an unsuitable source gets A, or else nothing
    for (long k = 0; k < top_k; k++) {
      const long from = sources.get(source, target, k) * width();
      const T p = weights.get(share, target, k);
      const bool open = may == nullptr || suitable.get(may, target, k);
      V<T> product{};
      for (long d = 0; d < width(); d += LANES<T>) {
        const V<T> sent = vector_at(into + d);
        product += vector_at(m + from + d) * sent;
        vector_at(a + from + d) += p * sent;
        if (!may) continue;
        if (open)
          vector_at(g + from + d) += p * sent;
        else if (instead)
          vector_at(g + from + d) += p * vector_at(a + (target + 1) * width() + d);
      }
      grad_weights[k * rows] = sum_of<T>(&product);
    }
  }
};

// Sizes of the larger calls, and the distances in their arrays, come as one array (networks/compiled.py).
template <class T>
Chain<T> chain_of(const long *n, const T *scale, const T *const *weight, const T *const *bias) {
  return {n[0], n[1], n[2], n[3], n[4], n[5] != 0, n[6] != 0, n + 7, weight, bias, scale};
}

template <class T, class Work>
void with_stack(const long *n, const T *weight, const T *bias, const int64_t *sources, const T *weights,
                const uint8_t *suitable, const Work &work) {
  const auto run = [&](auto wide) {
    work(Stack<T, decltype(wide)::value>{n[0], n[1], n[2], n[3], n[4], n[5] != 0, weight, bias, n[6], n[7],
                                         {sources, n[8], n[9], n[10], n[11]},
                                         {weights, n[12], n[13], n[14], n[15]},
                                         {suitable, n[16], n[17], n[18], n[19]}});
  };
  switch (round_up(n[2], PANEL<T>)) {
    case 32: return run(std::integral_constant<long, 32>());
    case 128: return run(std::integral_constant<long, 128>());
    default: return run(std::integral_constant<long, 0>());
  }
}

}  // namespace

#define OF_TYPE(T, NAME)                                                                                               \
  long d2r_chain_kept_##NAME(const long *n) { return chain_of<T>(n, nullptr, nullptr, nullptr).kept(); }     \
  void d2r_chain_##NAME(const long *n, const T *x, const T *scale, const T *const *weight, const T *const *bias, T *y, \
                        T *keep, int threads) {                                                                        \
    chain_of<T>(n, scale, weight, bias).forward(x, y, keep, threads);                                                  \
  }                                                                                                                    \
  void d2r_chain_backward_##NAME(const long *n, const T *x, const T *scale, const T *const *weight, const T *y,        \
                                 const T *keep, const T *grad_y, T *grad_x, T *grad_scale, T *const *grad_weight,      \
                                 T *const *grad_bias, int threads) {                                                   \
    chain_of<T>(n, scale, weight, nullptr)                                                                             \
        .backward(x, y, keep, grad_y, grad_x, grad_scale, grad_weight, grad_bias, threads);                            \
  }                                                                                                                    \
  void d2r_decide_##NAME(const long *n, const T *logits, const T *noise, const T *coldness, const uint8_t *given,      \
                         int64_t *sources, T *weights, uint8_t *suitable) {                                            \
    decide<T>(n[0], n[1], n[2], {n[3], n[4], n[5]}, {logits, n[6], n[7], n[8]}, {noise, n[9], n[10], n[11]}, coldness, \
              given, n[12], sources, weights, suitable);                                                               \
  }                                                                                                                    \
  void d2r_decide_backward_##NAME(const long *n, const int64_t *sources, const T *weights, const T *grad_weights,      \
                                  T *grad_logits) {                                                                    \
    decide_backward<T>(n[0], n[1], {n[3], n[4], n[5]}, sources, weights, grad_weights, grad_logits);                   \
  }                                                                                                                    \
  long d2r_width_##NAME(long dim) { return round_up(dim, PANEL<T>); }                                                  \
  void d2r_stack_##NAME(const long *n, const T *first, const T *weight, const T *bias, const int64_t *sources,         \
                        const T *weights, T *out, T *modules, T *own, int threads) {                                   \
    with_stack<T>(n, weight, bias, sources, weights, nullptr,                                                          \
                  [=](const auto &stack) { stack.forward(first, out, modules, own, threads); });                       \
  }                                                                                                                    \
  void d2r_stack_backward_##NAME(const long *n, const T *weight, const T *bias, const int64_t *sources,                \
                                 const T *weights, const uint8_t *suitable, const T *modules, const T *own,            \
                                 const T *grad_out, T *grad_first, T *grad_weights, T *grad_weight, T *grad_bias,      \
                                 int threads) {                                                                        \
    with_stack<T>(n, weight, bias, sources, weights, suitable, [=](const auto &stack) {                                \
      stack.backward(modules, own, grad_out, grad_first, grad_weights, grad_weight, grad_bias, threads);               \
    });                                                                                                                \
  }

extern "C" {
OF_TYPE(float, f32)
OF_TYPE(double, f64)
}

// What an update of small networks spends its time on, as plain loops over vectors:
//
//   linear, linear_backward     y = x W^T + b with an optional ReLU, and its gradients
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
#include <memory>
#include <thread>
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

template <class T> T sum_of(V<T> v) {
  T sum = 0;
  for (long lane = 0; lane < LANES<T>; lane++) sum += v[lane];
  return sum;
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

// ---- linear layers -------------------------------------------------------------------------------------------------

template <class T>
void linear(long ensemble, long rows, long inputs, long outputs, const T *x, long x_member, const T *weight,
            const T *bias, bool relu, T *y, int threads) {
  const Buffer<T> panels = panels_for<T>(inputs, outputs);
  for (long e = 0; e < ensemble; e++) {
    const Panels<T> matrix = pack(inputs, outputs, weight + e * outputs * inputs, 1L, inputs, panels.get());
    const T *from = x + e * x_member, *offset = bias + e * outputs;
    T *to = y + e * rows * outputs;
    in_threads(threads_worth(threads, double(rows) * inputs * outputs), rows, TILE_ROWS, [=](long begin, long end) {
      multiply(end - begin, outputs, inputs, from + begin * inputs, inputs, 1L, matrix, offset, 0L,
               to + begin * outputs, outputs, relu);
    });
  }
}

// Gradients that are not wanted are null. `y` is the layer's output where a ReLU followed, null elsewhere. Members that
// share their input (x_member is 0) sum its gradient.
template <class T>
void linear_backward(long ensemble, long rows, long inputs, long outputs, const T *x, long x_member, const T *weight,
                     const T *y, const T *grad_y, T *grad_x, T *grad_weight, T *grad_bias, int threads) {
  threads = threads_worth(threads, double(rows) * inputs * outputs);
  const Buffer<T> of_weight = panels_for<T>(outputs, grad_x ? inputs : 0);
  const Buffer<T> of_x = panels_for<T>(rows, grad_weight ? inputs : 0);
  const Buffer<T> masked(y ? rows * outputs : 0);
  for (long e = 0; e < ensemble; e++) {
    const T *through = grad_y + e * rows * outputs;
    if (y) {
      const T *active = y + e * rows * outputs;
      const long count = rows * outputs;
      for (long i = 0; i < count; i += LANES<T>)
        store(masked + i, load(active + i, count - i) <= 0 ? V<T>{} : load(through + i, count - i), count - i);
      through = masked;
    }
    if (grad_x) {
      const Panels<T> matrix = pack(outputs, inputs, weight + e * outputs * inputs, inputs, 1L, of_weight.get());
      T *to = grad_x + (x_member ? e * rows * inputs : 0);
      const bool more = e > 0 && !x_member;
      in_threads(threads, rows, TILE_ROWS, [=](long begin, long end) {
        T *part = to + begin * inputs;
        multiply(end - begin, inputs, outputs, through + begin * outputs, outputs, 1L, matrix,
                 more ? part : nullptr, inputs, part, inputs);
      });
    }
    if (grad_weight) {
      const Panels<T> seen = pack(rows, inputs, x + e * x_member, inputs, 1L, of_x.get());
      T *to = grad_weight + e * outputs * inputs;
      in_threads(threads, outputs, TILE_ROWS, [=](long begin, long end) {
        multiply(end - begin, inputs, rows, through + begin, 1L, outputs, seen, static_cast<const T *>(nullptr), 0L,
                 to + begin * inputs, inputs);
      });
    }
    if (grad_bias) {
      T *to = grad_bias + e * outputs;
      for (long o = 0; o < outputs; o += LANES<T>) {
        V<T> sum{};
        for (long r = 0; r < rows; r++) sum += load(through + r * outputs + o, outputs - o);
        store(to + o, sum, outputs - o);
      }
    }
  }
}

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

template <class T> struct Stack {
  long ensemble, rows, dim, count, top_k;
  bool residual;
  const T *weight, *bias;          // [member, count - 1, dim, dim] and [member, count - 1, dim]
  long weight_member, bias_member; // distance of members: there may be more modules than are in use
  OfSources<int64_t> sources;
  OfSources<T> weights;
  OfSources<uint8_t> suitable;     // at null: all are

  long width() const { return round_up(dim, PANEL<T>); }
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
    for (long i = 0; grad_weight && i < matrices; i++)
      for (long o = 0; o <= dim; o++)
        for (long d = 0; d < dim; d += LANES<T>) {
          V<T> total{};
          for (long part = 0; part < parts; part++)
            total += vector_at(of_parameters + part * sums + (i * (dim + 1) + o) * wide + d);
          store(o < dim ? grad_weight + (i * dim + o) * dim + d : grad_bias + i * dim + d, total, dim - d);
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
      grad_weights[k * rows] = sum_of<T>(product);
    }
  }
};

// Sizes of the larger calls, and the distances in their arrays, come as one array (networks/compiled.py).
template <class T>
Stack<T> stack_of(const long *n, const T *weight, const T *bias, const int64_t *sources, const T *weights,
                  const uint8_t *suitable) {
  return {n[0], n[1], n[2], n[3], n[4], n[5] != 0, weight, bias, n[6], n[7],
          {sources, n[8], n[9], n[10], n[11]}, {weights, n[12], n[13], n[14], n[15]},
          {suitable, n[16], n[17], n[18], n[19]}};
}

}  // namespace

#define OF_TYPE(T, NAME)                                                                                               \
  void d2r_linear_##NAME(long ensemble, long rows, long inputs, long outputs, const T *x, long x_member,               \
                         const T *weight, const T *bias, int relu, T *y, int threads) {                                \
    linear<T>(ensemble, rows, inputs, outputs, x, x_member, weight, bias, relu, y, threads);                           \
  }                                                                                                                    \
  void d2r_linear_backward_##NAME(long ensemble, long rows, long inputs, long outputs, const T *x, long x_member,      \
                                  const T *weight, const T *y, const T *grad_y, T *grad_x, T *grad_weight,             \
                                  T *grad_bias, int threads) {                                                         \
    linear_backward<T>(ensemble, rows, inputs, outputs, x, x_member, weight, y, grad_y, grad_x, grad_weight,           \
                       grad_bias, threads);                                                                            \
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
    stack_of<T>(n, weight, bias, sources, weights, nullptr).forward(first, out, modules, own, threads);                \
  }                                                                                                                    \
  void d2r_stack_backward_##NAME(const long *n, const T *weight, const T *bias, const int64_t *sources,                \
                                 const T *weights, const uint8_t *suitable, const T *modules, const T *own,            \
                                 const T *grad_out, T *grad_first, T *grad_weights, T *grad_weight, T *grad_bias,      \
                                 int threads) {                                                                        \
    stack_of<T>(n, weight, bias, sources, weights, suitable)                                                           \
        .backward(modules, own, grad_out, grad_first, grad_weights, grad_weight, grad_bias, threads);                  \
  }

extern "C" {
OF_TYPE(float, f32)
OF_TYPE(double, f64)
}

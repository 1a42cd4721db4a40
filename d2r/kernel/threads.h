// Work shared among threads: those that PyTorch's operators use, too.
#pragma once

#include <dlfcn.h>

#include <algorithm>
#include <thread>
#include <vector>

namespace {

constexpr double WORTH_A_THREAD = 2e7;  // multiply-adds below which handing work to a thread takes longer than it saves

// OpenMP's runtime, if the process has loaded one, by the names that compilers call (libgomp's; LLVM's has them, too).
// Its threads look for work for a while before they sleep, so that others would have to share a core with them; and to
// start a thread takes as long as some of the calls.
struct OpenMP {
  void (*parallel)(void (*)(void *), void *, unsigned, unsigned);
  int (*thread)(), (*threads)();

  static const OpenMP &loaded() {
    static const OpenMP found{named<decltype(parallel)>("GOMP_parallel"), named<decltype(thread)>("omp_get_thread_num"),
                              named<decltype(threads)>("omp_get_num_threads")};
    return found;
  }
  explicit operator bool() const { return parallel && thread && threads; }

 private:
  template <class Function> static Function named(const char *name) {
    return reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
  }
};

// Equal ranges of [0, count) that begin at multiples of a unit, the last perhaps shorter, for as many threads at most.
class Parts {
 public:
  const long count, step, number;

  Parts(int threads, long count, long unit)
      : count(count), step(step_of(threads, count, unit)), number(std::max(1L, (count + step - 1) / step)),
        threads(threads) {}

  // Calls work(begin, end) for each, which must not depend on the thread that it runs on.
  template <class Work> void each(const Work &work) const {
    const auto part = [&](long i) { work(i * step, std::min(i * step + step, count)); };
    if (number == 1) return part(0);
    if (!OpenMP::loaded()) return in_new_threads(part);
    struct Team {
      const decltype(part) &of;
      long number;
    } team{part, number};
    const auto member = [](void *given) {
      const auto &[of, number] = *static_cast<Team *>(given);
      for (long i = OpenMP::loaded().thread(); i < number; i += OpenMP::loaded().threads()) of(i);
    };
    OpenMP::loaded().parallel(member, &team, threads, 0);  // always as many: a team of another size is a new one
  }

 private:
  static long step_of(int threads, long count, long unit) {
    const long units = (count + unit - 1) / unit, most = std::max(1L, std::min<long>(threads, units));
    return std::max(1L, (units + most - 1) / most) * unit;
  }
  template <class Part> void in_new_threads(const Part &part) const {
    std::vector<std::thread> others;
    for (long i = 1; i < number; i++) others.emplace_back(part, i);
    part(0);
    for (auto &other : others) other.join();
  }

  const int threads;
};

template <class Work> void in_threads(int threads, long count, long unit, const Work &work) {
  Parts(threads, count, unit).each(work);
}

int threads_worth(int threads, double multiply_adds) {
  const double worth = multiply_adds / WORTH_A_THREAD;
  return worth < threads ? (worth < 1 ? 1 : static_cast<int>(worth)) : threads;
}

}  // namespace

// Transitions copied out of rings of episode slots; algorithms/replay.py says how they lie there.
#pragma once

#include <vector>

#include "vectors.h"

namespace {

// One quantity of all tasks. `later` rows behind an observation, of which an episode has one more than transitions; of
// what there is once a transition it is negative.
struct Quantity {
  long bytes, rows, later;  // of a row; rows of a seed
  const char *ring;
  char *to;
  const char *row(long seed, long time, long horizon) const {
    return ring + (seed * rows + (later < 0 ? time : time + time / horizon + later)) * bytes;
  }
};

constexpr long TRANSITIONS_AHEAD = 2;  // they lie anywhere, and the processor cannot guess where

// `time` [seed, size]; `terminal` [seed, size, task] is 1 in an episode's last transition if its limit is a terminal one.
template <class T>
void copy_transitions(long seeds, long size, long tasks, long horizon, bool ends, const std::vector<Quantity> &quantities,
                      const int64_t *time, T *terminal) {
  for (long i = 0; i < seeds * size; i++) {
    const long ahead = i + TRANSITIONS_AHEAD;
    for (const Quantity &of : quantities) {
      if (ahead < seeds * size)
        for (long line = 0; line < of.bytes; line += 64) fetch(of.row(ahead / size, time[ahead], horizon) + line, false);
      std::memcpy(of.to + i * of.bytes, of.row(i / size, time[i], horizon), of.bytes);
    }
    const T last = ends && time[i] % horizon == horizon - 1;
    for (long task = 0; task < tasks; task++) terminal[i * tasks + task] = last;
  }
}

}  // namespace

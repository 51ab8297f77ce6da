#include "base/processors.h"

#include <sched.h>

#include <fstream>
#include <set>
#include <string>
#include <utility>

namespace strata {
namespace {

int topology(int processor, const char* what) {
  std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(processor) + "/topology/" + what);
  int value = -1;
  file >> value;
  return value;
}

std::vector<int> find_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return {};
  std::vector<int> first, others;  // of their cores
  std::set<std::pair<int, int>> cores;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (!CPU_ISSET(i, &set)) continue;
    const int core = topology(i, "core_id");
    const bool is_first = core < 0 || cores.emplace(topology(i, "physical_package_id"), core).second;
    (is_first ? first : others).push_back(i);
  }
  first.insert(first.end(), others.begin(), others.end());
  return first;
}

}  // namespace

const std::vector<int>& processors() {
  static const std::vector<int> found = find_processors();
  return found;
}

bool pin_to_processor(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  return sched_setaffinity(0, sizeof set, &set) == 0;
}

}  // namespace strata

// What the kernel says about this process, under the names of Prometheus' client libraries.
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/process_memory.h"
#include "server/metrics/server_metrics.h"

namespace strata {
namespace {

/// Unix seconds: when the machine began, and the ticks from there to this process (field 22 of /proc/self/stat).
double start_time() {
  std::string line, word;
  std::getline(std::ifstream("/proc/self/stat"), line);
  std::istringstream fields(line.substr(std::min(line.rfind(')') + 1, line.size())));
  for (int i = 3; i < 22; ++i) fields >> word;
  double ticks = 0, boot = 0;
  fields >> ticks;
  std::ifstream stat("/proc/stat");
  while (stat >> word && word != "btime") {
  }
  stat >> boot;
  return boot + ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

double open_descriptors() {
  struct stat status {};
  // Since Linux 6.2 the folder's size is their number; counting them costs a millisecond for thousands.
  if (::stat("/proc/self/fd", &status) == 0 && status.st_size > 0) return static_cast<double>(status.st_size);
  std::error_code error;
  double count = 0;
  for (std::filesystem::directory_iterator fd("/proc/self/fd", error), end; !error && fd != end; fd.increment(error))
    ++count;
  return count;
}

}  // namespace

std::string process_metrics() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  const ProcessMemory memory = process_memory();
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  static const double started = start_time();
  Exposition out({"process_"}, {});
  out.counter("cpu_seconds", "Processor time, user and system.", seconds(usage.ru_utime) + seconds(usage.ru_stime));
  out.gauge("resident_memory_bytes", "Memory that is resident.", static_cast<double>(memory.resident));
  out.gauge("virtual_memory_bytes", "Memory that is mapped.", static_cast<double>(memory.mapped));
  out.gauge("open_fds", "Descriptors that are open.", open_descriptors());
  out.gauge("max_fds", "Descriptors that may be open.", static_cast<double>(limit.rlim_cur));
  out.gauge("start_time_seconds", "When the process began, in Unix seconds.", started);
  return out.take();
}

}  // namespace strata

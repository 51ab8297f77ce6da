// What a service tells systemd that started it (sd_notify(3)).
#pragma once

#include <chrono>
#include <optional>
#include <string_view>

namespace strata {

/// Sends "READY=1", "STOPPING=1", "WATCHDOG=1"; does nothing where no one listens ($NOTIFY_SOCKET).
void notify_systemd(std::string_view state);

/// How often "WATCHDOG=1" is wanted at least ($WATCHDOG_USEC).
std::optional<std::chrono::microseconds> systemd_watchdog();

}  // namespace strata

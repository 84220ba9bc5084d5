// What a vCPU's exit is answered with.
#pragma once

#include <errno.h>
#include <stdint.h>

namespace cvmtrace {

// What a VMM would give back to the guest: KVM takes 0, EINVAL and EAGAIN as the result of KVM_HC_MAP_GPA_RANGE.
inline int64_t AnswerOf(uint16_t first_error) {
  if (first_error == 0) return 0;
  return first_error == EAGAIN ? EAGAIN : EINVAL;
}

}  // namespace cvmtrace

// ioctl: KVM, VFIO and iommufd have two types of requests among them, of which few are recorded. All others only pay
// for looking at the number.
#include <linux/kvm.h>
#include <linux/vfio.h>
#include <stdarg.h>

#include "../core/clock.h"
#include "area.h"
#include "calls.h"
#include "ioctl_call.h"
#include "raw_call.h"
#include "recognise.h"
#include "vcpu_run.h"

namespace cvmtrace::preload {
namespace {

const IoctlKind* FindIoctl(uint32_t request) {
  switch (request >> _IOC_TYPESHIFT & _IOC_TYPEMASK) {
    case KVMIO:
      return FindKvmIoctl(request);
    case VFIO_TYPE: {
      const IoctlKind* const vfio = FindVfioIoctl(request);
      return vfio ? vfio : FindIommufdIoctl(request);
    }
    default:
      return nullptr;
  }
}

// Whether the kernel answered as it does when the descriptor is not what `kind` is for, or was thought not to be.
bool IsSurprising(long returned, bool meant) {
  const bool refused = returned == -EBADF || returned == -ENOTTY;
  return meant ? refused : returned >= 0;
}

long RecordedIoctl(const IoctlKind& kind, int fd, unsigned long request, unsigned long argument) {
  IoctlCall call;
  call.fd = fd;
  call.request = static_cast<uint32_t>(request);
  call.argument = argument;
  call.entry = Lookup(fd);
  bool meant = kind.kinds & Bit(call.entry.kind());
  call.has_before = meant && kind.bytes_before &&
                    CopyIfReadable(call.before, reinterpret_cast<const void*>(argument), kind.bytes_before);
  call.start_ns = NowNs();
  call.returned = RawCall(SYS_ioctl, fd, request, argument);
  call.end_ns = NowNs();
  if (IsSurprising(call.returned, meant)) [[unlikely]] {
    call.entry = RecogniseAgain(fd);
    meant = kind.kinds & Bit(call.entry.kind());
  }
  if (meant) {
    Row row(kind.op, call.start_ns, call.end_ns, call.returned);
    if (kind.decode(call, row)) row.Write();
  } else if (!call.entry.IsKnown() && call.returned != -EBADF) {
    area.header->unreadable.fetch_add(1, std::memory_order_relaxed);
  }
  return call.returned;
}

}  // namespace

long Ioctl(int fd, unsigned long request, unsigned long argument) {
  const uint32_t command = static_cast<uint32_t>(request);
  const uint32_t type = command >> _IOC_TYPESHIFT & _IOC_TYPEMASK;
  if ((type != KVMIO && type != VFIO_TYPE) || !Recording())
    return FinishCall(RawCall(SYS_ioctl, fd, request, argument));
  if (command == KVM_RUN) return FinishCall(RunVcpu(fd, argument));
  const IoctlKind* const kind = FindIoctl(command);
  if (!kind) return FinishCall(RawCall(SYS_ioctl, fd, request, argument));
  return FinishCall(RecordedIoctl(*kind, fd, request, argument));
}

}  // namespace cvmtrace::preload

CVMTRACE_INTERPOSED int ioctl(int fd, unsigned long request, ...) noexcept {
  va_list arguments;
  va_start(arguments, request);
  const unsigned long argument = va_arg(arguments, unsigned long);
  va_end(arguments);
  return static_cast<int>(cvmtrace::preload::Ioctl(fd, request, argument));
}

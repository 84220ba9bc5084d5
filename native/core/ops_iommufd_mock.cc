// Mock devices of a kernel with CONFIG_IOMMUFD_TEST (drivers/iommu/iommufd/selftest.c): mappings pin pages and fill a
// page table that can be asked, with no hardware at all.
#include "backing.h"
#include "handlers.h"
#include "iommufd_test_abi.h"

namespace cvmtrace {
namespace {

void MockDomain(OpRun& run) {
  if (!run.Has(present::obj)) return run.Skip(EINVAL);
  if (const int error = run.objects().CheckFree(run.obj())) return run.Skip(error);
  const Object* const table = run.objects().Find(run.peer());
  if (!table || (table->kind != ObjectKind::kIoas && table->kind != ObjectKind::kHwpt)) return run.Skip(EBADF);
  IommuTestCmd command = MakeIommuTestCmd(kIommuTestMockDomain, table->id);
  if (!run.Time([&] { return ::ioctl(table->iommufd, kIommuTestCmd, &command); })) return;
  auto device = std::make_unique<Object>(Object{ObjectKind::kMockDevice, {}, {}});
  device->iommufd = table->iommufd;
  device->id = command.mock_domain.out_stdev_id;
  device->device_id = command.mock_domain.out_idev_id;
  device->hwpt_id = command.mock_domain.out_hwpt_id;
  run.objects().Add(run.obj(), std::move(device));
}

const Object* FindMock(OpRun& run) {
  const Object* const device = run.Find(run.obj(), ObjectKind::kMockDevice);
  if (!device) run.Skip(EBADF);
  return device;
}

void MdCheckMap(OpRun& run) {
  if (!run.Has(present::obj | present::iova | present::len)) return run.Skip(EINVAL);
  const Object* const device = FindMock(run);
  if (!device) return;
  const Backing backing = FindBacking(run);
  if (backing.error) return run.Skip(backing.error);
  run.SetHva(backing.hva);
  IommuTestCmd command = MakeIommuTestCmd(kIommuTestMdCheckMap, device->hwpt_id);
  command.check_map = {run.iova(), run.len(), backing.hva};
  run.Time([&] { return ::ioctl(device->iommufd, kIommuTestCmd, &command); });
}

// The kernel answers 0 even if the device's page table has no fault queue, and so nobody will see the fault.
void TriggerIopf(OpRun& run) {
  if (!run.Has(present::obj)) return run.Skip(EINVAL);
  const Object* const device = FindMock(run);
  if (!device) return;
  IommuTestCmd command = MakeIommuTestCmd(kIommuTestTriggerIopf, 0);
  constexpr uint32_t kNoPasid = 0;
  command.trigger_iopf = {device->device_id, kNoPasid, static_cast<uint32_t>(run.attrs()),
                          static_cast<uint32_t>(run.flags()), run.iova()};
  run.Time([&] { return ::ioctl(device->iommufd, kIommuTestCmd, &command); });
}

}  // namespace

void RegisterIommufdMockOps(HandlerTable& table) {
  table[Op::iommufd_test_mock_domain] = MockDomain;
  table[Op::iommufd_test_md_check_map] = MdCheckMap;
  table[Op::iommufd_test_trigger_iopf] = TriggerIopf;
}

}  // namespace cvmtrace

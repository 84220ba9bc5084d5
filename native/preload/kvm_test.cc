// Recorded calls on KVM's objects and on a guest's memory: real ones of this host.
#include <errno.h>
#include <linux/falloc.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "../core/kvm_abi.h"
#include "testing/recording.h"

namespace cvmtrace::preload {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kMemory = 16 * kPage;

int OpenKvm() { return ::open("/dev/kvm", O_RDWR | O_CLOEXEC); }

// A VM, or the process ends: this host has none.
int MakeVm() {
  const int kvm = OpenKvm();
  if (kvm < 0) _exit(kCannot);
  const int vm = ::ioctl(kvm, KVM_CREATE_VM, 0ul);
  EXPECT(vm >= 0);
  return vm;
}

int MakeGuestMemfd(int vm, uint64_t flags = 0) {
  KvmCreateGuestMemfd create = {kMemory, flags, {}};
  const int fd = ::ioctl(vm, KVM_CREATE_GUEST_MEMFD, &create);
  if (fd < 0) _exit(kCannot);
  return fd;
}

TARGET(create) {
  const int vm = MakeVm();
  const int vcpu = ::ioctl(vm, KVM_CREATE_VCPU, 3ul);
  EXPECT(vcpu >= 0);
  const int gmem = MakeGuestMemfd(vm, GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED);
  const int kvm = OpenKvm();
  EXPECT(::ioctl(kvm, KVM_CREATE_VM, 99ul) == -1 && errno == EINVAL);
  ::close(gmem);
  ::close(vcpu);
  ::close(vm);
  return 0;
}

TEST("what is created has numbers, in the order of creation, until it is closed") {
  TestRecording recording;
  RUN_TARGET(recording, "create");
  const auto rows = recording.Rows();
  REQUIRE(rows.size() == 7);
  const Op ops[] = {Op::kvm_create_vm, Op::kvm_create_vcpu, Op::kvm_create_guest_memfd,
                    Op::kvm_create_vm, Op::close,           Op::close,
                    Op::close};
  const uint32_t numbers[] = {1, 2, 3, 0, 3, 2, 1};
  for (size_t i = 0; i < rows.size(); ++i) {
    CHECK(rows[i].op == ops[i]);
    CHECK(rows[i].obj == numbers[i]);
    CHECK(rows[i].ts_ns > 0);
    CHECK(i == 0 || rows[i].ts_ns >= rows[i - 1].ts_ns + rows[i - 1].dur_ns);
  }
  CHECK(Has(rows[0], kHasAttrs | kHasResult | kHasDur) && rows[0].attrs == 0 && rows[0].result == 0);
  CHECK(Has(rows[1], kHasVcpu) && rows[1].vcpu == 3);
  CHECK(Has(rows[2], kHasLen | kHasFlags) && rows[2].len == kMemory && rows[2].flags == 3);
  CHECK(rows[3].error == EINVAL && rows[3].attrs == 99 && !Has(rows[3], kHasObj) && !Has(rows[3], kHasResult));
  CHECK(Has(rows[5], kHasVcpu) && rows[5].vcpu == 3);
  CHECK(recording.header().processes == 1);
}

TARGET(memslots) {
  const int vm = MakeVm();
  const int gmem = MakeGuestMemfd(vm);
  void* const shared = ::mmap(nullptr, kMemory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  kvm_userspace_memory_region region = {7, 0, 0x100000, kMemory, reinterpret_cast<uint64_t>(shared)};
  EXPECT(::ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) == 0);
  KvmUserspaceMemoryRegion2 region2 = {};
  region2.slot = 8;
  region2.flags = KVM_MEM_GUEST_MEMFD;
  region2.guest_phys_addr = 0x200000;
  region2.memory_size = 4 * kPage;
  region2.userspace_addr = reinterpret_cast<uint64_t>(shared);
  region2.guest_memfd = static_cast<uint32_t>(gmem);
  region2.guest_memfd_offset = 2 * kPage;
  ::ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &region2);
  const int error = errno;
  region2.slot = 0x7fff;
  EXPECT(::ioctl(vm, KVM_SET_USER_MEMORY_REGION2, &region2) == -1 && errno == EINVAL);
  EXPECT(error != EFAULT);
  KvmMemoryAttributes attributes = {0x200000, kPage, KVM_MEMORY_ATTRIBUTE_PRIVATE, 0};
  ::ioctl(vm, KVM_SET_MEMORY_ATTRIBUTES, &attributes);
  kvm_enc_region encrypted = {reinterpret_cast<uint64_t>(shared), kMemory};
  ::ioctl(vm, KVM_MEMORY_ENCRYPT_REG_REGION, &encrypted);
  KvmSevCommand command = {.id = 22};
  ::ioctl(vm, KVM_MEMORY_ENCRYPT_OP, &command);
  return 0;
}

TEST("memory slots, attributes and encryption have the columns of their structs") {
  TestRecording recording;
  RUN_TARGET(recording, "memslots");
  const auto slots = recording.Rows(Op::kvm_set_user_memory_region);
  REQUIRE(slots.size() == 1);
  CHECK(Has(slots[0], kHasObj | kHasGpa | kHasHva | kHasLen | kHasAttrs | kHasFlags | kHasResult));
  CHECK(slots[0].gpa == 0x100000 && slots[0].len == kMemory && slots[0].attrs == 7 && slots[0].obj == 1);
  CHECK(!Has(slots[0], kHasOffset) && slots[0].error == 0);
  const auto slots2 = recording.Rows(Op::kvm_set_user_memory_region2);
  REQUIRE(slots2.size() == 2);
  CHECK(slots2[0].attrs == (8 | uint64_t{2} << 32));
  CHECK(slots2[0].offset == 2 * kPage && slots2[0].flags == KVM_MEM_GUEST_MEMFD && slots2[0].hva == slots[0].hva);
  CHECK(slots2[1].error == EINVAL && slots2[1].attrs == (0x7fff | uint64_t{2} << 32) && !Has(slots2[1], kHasResult));
  const auto attributes = recording.Rows(Op::kvm_set_memory_attributes);
  REQUIRE(attributes.size() == 1);
  CHECK(Has(attributes[0], kHasObj | kHasGpa | kHasLen | kHasAttrs | kHasFlags));
  CHECK(attributes[0].gpa == 0x200000 && attributes[0].len == kPage && attributes[0].attrs == 8);
  const auto regions = recording.Rows(Op::kvm_memory_encrypt_reg_region);
  REQUIRE(regions.size() == 1);
  CHECK(regions[0].hva == slots[0].hva && regions[0].len == kMemory);
  const auto encrypts = recording.Rows(Op::kvm_memory_encrypt_op);
  REQUIRE(encrypts.size() == 1);
  CHECK(encrypts[0].attrs == 22 && encrypts[0].obj == 1);
}

TARGET(fallocate) {
  const int vm = MakeVm();
  const int gmem = MakeGuestMemfd(vm);
  errno = 4711;
  EXPECT(::fallocate(gmem, 1, 0, kMemory) == 0);
  EXPECT(::fallocate(gmem, 3, kPage, 2 * kPage) == 0);
  EXPECT(errno == 4711);
  EXPECT(::fallocate(gmem, 0, 0, kPage) == -1 && errno == EOPNOTSUPP);
  EXPECT(::fallocate64(gmem, 1, 1, kPage) == -1 && errno == EINVAL);
  EXPECT(::syscall(SYS_fallocate, gmem, 3, 0, kPage) == 0);
  const int ram = ::memfd_create("ram", 0);
  EXPECT(::ftruncate(ram, kMemory) == 0);
  EXPECT(::fallocate(ram, 1, 0, kPage) == 0);
  EXPECT(::fallocate(ram, 3, 0, kPage) == 0);
  const int file = ::open("/tmp", O_TMPFILE | O_RDWR, 0600);
  if (file >= 0) ::fallocate(file, 0, 0, kPage);
  int ends[2];
  EXPECT(::pipe(ends) == 0);
  EXPECT(::fallocate(ends[1], 0, 0, kPage) == -1 && errno == ESPIPE);
  EXPECT(::fallocate(-1, 0, 0, kPage) == -1 && errno == EBADF);
  return 0;
}

TEST("fallocate says in its name what it does, also when it fails; of other files it is not recorded") {
  TestRecording recording;
  RUN_TARGET(recording, "fallocate");
  const auto allocated = recording.Rows(Op::gmem_allocate);
  REQUIRE(allocated.size() == 3);
  CHECK(Has(allocated[0], kHasObj | kHasOffset | kHasLen | kHasDur) && !Has(allocated[0], kHasFlags));
  CHECK(allocated[0].obj == 2 && allocated[0].len == kMemory);
  CHECK(allocated[1].error == EOPNOTSUPP && Has(allocated[1], kHasFlags) && allocated[1].flags == 0);
  CHECK(allocated[2].error == EINVAL && allocated[2].offset == 1);
  const auto punched = recording.Rows(Op::gmem_punch_hole);
  REQUIRE(punched.size() == 2);
  CHECK(punched[0].offset == kPage && punched[0].len == 2 * kPage && punched[0].error == 0);
  CHECK(recording.Rows(Op::ram_allocate).size() == 1);
  REQUIRE(recording.Rows(Op::ram_punch_hole).size() == 1);
  CHECK(recording.Rows(Op::ram_punch_hole)[0].obj == 3);
}

TARGET(mappings) {
  // Nothing of a guest yet: not recorded.
  void* const early = ::mmap(nullptr, kMemory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(::madvise(early, kMemory, MADV_DONTNEED) == 0);
  const int ram = ::memfd_create("ram", 0);
  EXPECT(::ftruncate(ram, kMemory) == 0);
  auto* const map = static_cast<char*>(::mmap(nullptr, 8 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, ram, 2 * kPage));
  EXPECT(map != MAP_FAILED);
  ::close(ram);
  EXPECT(::mmap(nullptr, kPage, PROT_READ, MAP_SHARED, -1, 0) == MAP_FAILED && errno == EBADF);
  const int vm = MakeVm();
  EXPECT(::madvise(map + kPage, kPage, MADV_REMOVE) == 0);
  EXPECT(::madvise(early, kMemory, MADV_DONTNEED) == 0);
  EXPECT(::madvise(early, 100, MADV_DONTNEED) == 0);
  EXPECT(::madvise(early, kMemory, MADV_NORMAL) == 0);
  EXPECT(::munmap(early, kMemory) == 0);
  EXPECT(::munmap(map + 2 * kPage, kPage) == 0);
  EXPECT(::munmap(map, 8 * kPage) == 0);
  ::close(vm);
  return 0;
}

TEST("mappings of memory files and advice on them say which file and where in it") {
  TestRecording recording;
  RUN_TARGET(recording, "mappings");
  const auto maps = recording.Rows(Op::mmap);
  REQUIRE(maps.size() == 1);
  CHECK(Has(maps[0], kHasObj | kHasHva | kHasLen | kHasOffset) && maps[0].obj == 1);
  CHECK(maps[0].len == 8 * kPage && maps[0].offset == 2 * kPage);
  const auto advice = recording.Rows(Op::ram_madvise);
  REQUIRE(advice.size() == 2);
  CHECK(advice[0].flags == MADV_REMOVE && advice[0].obj == 1 && advice[0].offset == 3 * kPage);
  CHECK(advice[0].hva == maps[0].hva + kPage);
  CHECK(advice[1].flags == MADV_DONTNEED && !Has(advice[1], kHasObj) && advice[1].len == kMemory);
  const auto unmaps = recording.Rows(Op::munmap);
  REQUIRE(unmaps.size() == 3);
  CHECK(unmaps[0].hva == maps[0].hva + 2 * kPage && unmaps[0].len == kPage && unmaps[0].offset == 4 * kPage);
  CHECK(unmaps[1].hva == maps[0].hva && unmaps[1].len == 2 * kPage);
  CHECK(unmaps[2].hva == maps[0].hva + 3 * kPage && unmaps[2].len == 5 * kPage && unmaps[2].offset == 5 * kPage);
}

TARGET(bad_pointers) {
  const int vm = MakeVm();
  const int vcpu = ::ioctl(vm, KVM_CREATE_VCPU, 0ul);
  auto* const pages =
      static_cast<char*>(::mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  EXPECT(::munmap(pages + kPage, kPage) == 0);
  for (void* const bad : {static_cast<void*>(nullptr), static_cast<void*>(pages + kPage - 8),
                          reinterpret_cast<void*>(-4096l), reinterpret_cast<void*>(0x8000'0000'0000'0000ul)}) {
    EXPECT(::ioctl(vm, KVM_SET_USER_MEMORY_REGION, bad) == -1 && errno == EFAULT);
    EXPECT(::ioctl(vm, KVM_SET_USER_MEMORY_REGION2, bad) == -1 && errno == EFAULT);
    // Unknown to this kernel, or known: refused either way.
    EXPECT(::ioctl(vm, KVM_SET_MEMORY_ATTRIBUTES, bad) == -1);
    EXPECT(::ioctl(vcpu, KVM_PRE_FAULT_MEMORY, bad) == -1);
  }
  return 0;
}

TEST("a bad pointer is the kernel's EFAULT, and a row without what could not be read") {
  TestRecording recording;
  RUN_TARGET(recording, "bad_pointers");
  const auto rows = recording.Rows(Op::kvm_set_user_memory_region2);
  REQUIRE(rows.size() == 4);
  for (const Record& row : rows) CHECK(row.error == EFAULT && row.obj == 1 && !Has(row, kHasGpa));
  const auto pre_faults = recording.Rows(Op::kvm_pre_fault_memory);
  REQUIRE(pre_faults.size() == 4);
  for (const Record& row : pre_faults) CHECK(row.error != 0 && !Has(row, kHasGpa) && Has(row, kHasVcpu));
}

TARGET(wrong_descriptors) {
  const int null = ::open("/dev/null", O_RDWR);
  uint64_t words[32] = {};
  for (const unsigned long request : {0x3b71ul, 0x3b72ul, 0x3b85ul, 0x3b86ul, 0x4020aed2ul, 0xae80ul, 0xc080aed2ul}) {
    EXPECT(::ioctl(null, request, words) == -1 && errno == ENOTTY);
    EXPECT(::ioctl(-1, request, words) == -1 && errno == EBADF);
  }
  const int vm = MakeVm();
  ::ioctl(vm, 0x3b71, words);
  ::ioctl(vm, 0xae80, 0);
  return 0;
}

TEST("requests of VFIO, iommufd and KVM on other files are not recorded") {
  TestRecording recording;
  RUN_TARGET(recording, "wrong_descriptors");
  REQUIRE(recording.Rows().size() == 1);
  CHECK(recording.Rows()[0].op == Op::kvm_create_vm);
  CHECK(recording.header().unreadable == 0);
}

TARGET(copies) {
  const int vm = MakeVm();
  const int copy = ::dup(vm);
  EXPECT(::dup2(vm, 50) == 50 && ::dup3(vm, 51, O_CLOEXEC) == 51);
  const int above = ::fcntl(vm, F_DUPFD_CLOEXEC, 60);
  EXPECT(above >= 60);
  const int by_number = static_cast<int>(::syscall(SYS_dup, vm));
  kvm_userspace_memory_region region = {1, 0, 0, 0, 0};
  for (const int fd : {vm, copy, 50, 51, above, by_number}) {
    EXPECT(::ioctl(fd, KVM_SET_USER_MEMORY_REGION, &region) == -1);
    EXPECT(::close(fd) == 0);
  }
  EXPECT(::close(vm) == -1 && errno == EBADF);
  // The number is used again, for something else.
  EXPECT(::open("/dev/null", O_RDWR) == vm);
  EXPECT(::ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) == -1 && errno == ENOTTY);
  return 0;
}

TEST("copies of a descriptor are the same object, which is closed with the last") {
  TestRecording recording;
  RUN_TARGET(recording, "copies");
  const auto calls = recording.Rows(Op::kvm_set_user_memory_region);
  CHECK(calls.size() == 6);
  for (const Record& row : calls) CHECK(row.obj == 1);
  const auto rows = recording.Rows();
  REQUIRE(rows.size() == 8);
  CHECK(rows[7].op == Op::close && rows[7].obj == 1);
}

TARGET(behind_our_back) {
  const int vm = MakeVm();
  kvm_userspace_memory_region region = {1, 0, 0, 0, 0};
  // As a program that makes its system calls itself.
  long closed;
  asm volatile("syscall" : "=a"(closed) : "0"(SYS_close), "D"(vm) : "rcx", "r11", "memory");
  EXPECT(closed == 0);
  int ends[2];
  EXPECT(::pipe(ends) == 0 && ends[0] == vm);
  EXPECT(::ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) == -1 && errno == ENOTTY);
  EXPECT(::fallocate(vm, 0, 0, kPage) == -1);
  // Known not to be of interest; then a VM, by a call that nobody saw.
  const int second = MakeVm();
  asm volatile("syscall" : "=a"(closed) : "0"(SYS_dup2), "D"(second), "S"(ends[1]) : "rcx", "r11", "memory");
  EXPECT(closed == ends[1]);
  region = {1, 0, 0, 4096, reinterpret_cast<uint64_t>(::mmap(nullptr, 4096, 3, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))};
  EXPECT(::ioctl(ends[1], KVM_SET_USER_MEMORY_REGION, &region) == 0);
  return 0;
}

TEST("a descriptor that was closed and used again unseen is looked at again") {
  TestRecording recording;
  RUN_TARGET(recording, "behind_our_back");
  const auto calls = recording.Rows(Op::kvm_set_user_memory_region);
  REQUIRE(calls.size() == 1);
  CHECK(calls[0].error == 0 && calls[0].gpa == 0 && calls[0].len == 4096);
  const auto closed = recording.Rows(Op::close);
  REQUIRE(closed.size() == 1);
  CHECK(closed[0].obj == 1 && !Has(closed[0], kHasDur));
}

TARGET(passed) {
  const int vm = MakeVm();
  int pair[2];
  EXPECT(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
  char byte = 0;
  iovec data = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* const header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &vm, sizeof vm);
  EXPECT(::sendmsg(pair[0], &message, 0) == 1);
  // The number that it will get is known for something else.
  const int lowest = ::open("/dev/null", O_RDONLY);
  EXPECT(::ioctl(lowest, 0xae80, 0) == -1);
  long closed;
  asm volatile("syscall" : "=a"(closed) : "0"(SYS_close), "D"(lowest) : "rcx", "r11", "memory");
  EXPECT(::recvmsg(pair[1], &message, 0) == 1);
  int received;
  memcpy(&received, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof received);
  EXPECT(received == lowest);
  kvm_userspace_memory_region region = {1, 0, 0, 0, 0};
  EXPECT(::ioctl(received, KVM_SET_USER_MEMORY_REGION, &region) == -1 && errno == EINVAL);
  return 0;
}

TEST("a descriptor that came over a socket is recognised when it is used") {
  TestRecording recording;
  RUN_TARGET(recording, "passed");
  const auto calls = recording.Rows(Op::kvm_set_user_memory_region);
  REQUIRE(calls.size() == 1);
  CHECK(calls[0].obj == 2 && calls[0].error == EINVAL && calls[0].attrs == 1);
}

TARGET(close_range) {
  const int vm = MakeVm();
  const int gmem = MakeGuestMemfd(vm);
  EXPECT(::close_range(3, ~0u, 0) == 0);
  EXPECT(::fcntl(gmem, F_GETFD) == -1);
  // The library's own descriptor is still there, and others are as before.
  EXPECT(::open("/dev/null", O_RDONLY) == 3);
  const int again = MakeVm();
  ::closefrom(again);
  EXPECT(MakeVm() >= 0);
  for (int fd = 3; fd < 1024; ++fd) ::close(fd);
  std::thread([] { MakeVm(); }).join();
  return 0;
}

TEST("a target that closes everything is recorded further") {
  TestRecording recording;
  RUN_TARGET(recording, "close_range");
  CHECK(recording.Rows(Op::kvm_create_vm).size() == 4);
  CHECK(recording.Rows(Op::close).size() == 4);
  CHECK(recording.header().dropped_without_slot == 0);
}

}  // namespace
}  // namespace cvmtrace::preload

RECORD_TEST_MAIN()

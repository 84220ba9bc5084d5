#include "host_root.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "control.h"
#include "files.h"

namespace cvmtrace::lab {

namespace {

constexpr const char* k9pOptions = "trans=virtio,version=9p2000.L,msize=524288,cache=mmap";

void Mount(const char* source, const std::string& target, const char* type, const char* options = "",
           unsigned long flags = 0) {
  if (::mount(source, target.c_str(), type, flags, options) != 0) Fail("mount " + target, errno);
}

// What a kernel may lack, or have mounted already.
void MountIfThere(const char* source, const std::string& target, const char* type, const char* options = "") {
  ::mkdir(target.c_str(), 0755);
  static_cast<void>(::mount(source, target.c_str(), type, 0, options));
}

}  // namespace

void MountFirst() {
  // The root may have them empty or not; nothing to be done if it does not have them at all.
  static_cast<void>(::mount("proc", "/proc", "proc", 0, ""));
  static_cast<void>(::mount("sysfs", "/sys", "sysfs", 0, ""));
  static_cast<void>(::mount("devtmpfs", "/dev", "devtmpfs", 0, ""));
}

// The host's root is below, what is written above in memory. The mount point is a folder that every host has.
void EnterOverlay() {
  std::string base;
  for (const char* candidate : {"/run", "/tmp", "/mnt"}) {
    if (::mount("lab", candidate, "tmpfs", 0, "mode=0755") == 0) {
      base = candidate;
      break;
    }
  }
  if (base.empty()) Fail("no folder /run, /tmp or /mnt to mount on", errno);
  for (const char* folder : {"/upper", "/work", "/root"}) MakeFolders(base + folder);
  const std::string options = "lowerdir=/,upperdir=" + base + "/upper,workdir=" + base + "/work";
  Mount("lab", base + "/root", "overlay", options.c_str());
  if (::chroot((base + "/root").c_str()) != 0 || ::chdir("/") != 0) Fail("chroot", errno);
  MakeFolders("/proc");
  MakeFolders("/sys");
  MakeFolders("/dev");
  Mount("proc", "/proc", "proc");
  Mount("sysfs", "/sys", "sysfs");
  Mount("devtmpfs", "/dev", "devtmpfs");
  MakeFolders("/run");
  Mount("tmpfs", "/run", "tmpfs", "mode=0755");
  MountIfThere("devpts", "/dev/pts", "devpts", "mode=0620,ptmxmode=0666");
  MountIfThere("tmpfs", "/dev/shm", "tmpfs", "mode=1777");
  MountIfThere("hugetlbfs", "/dev/hugepages", "hugetlbfs");
  MountIfThere("debugfs", "/sys/kernel/debug", "debugfs");
  MountIfThere("tracefs", "/sys/kernel/tracing", "tracefs");
  for (const auto& [link, target] : {std::pair{"/dev/fd", "/proc/self/fd"},
                                     {"/dev/stdin", "/proc/self/fd/0"},
                                     {"/dev/stdout", "/proc/self/fd/1"},
                                     {"/dev/stderr", "/proc/self/fd/2"}})
    static_cast<void>(!::symlink(target, link));
}

void MountShare(const std::string& tag, const std::string& path) {
  MakeFolders(path);
  Mount(tag.c_str(), path, "9p", k9pOptions);
}

void RaiseLoopback() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  ifreq lo = {};
  strcpy(lo.ifr_name, "lo");
  lo.ifr_flags = IFF_UP | IFF_RUNNING;
  ::ioctl(fd, SIOCSIFFLAGS, &lo);
  ::close(fd);
}

void BindToVfio(const std::string& id) {
  const std::string root = "/sys/bus/pci/devices/";
  for (const std::string& address : List(root)) {
    const std::string vendor = ReadLine(root + address + "/vendor");
    const std::string device = ReadLine(root + address + "/device");
    if (vendor.size() < 6 || device.size() < 6 || vendor.substr(2) + ":" + device.substr(2) != id) continue;
    WriteFile(root + address + "/driver_override", "vfio-pci");
    WriteFile("/sys/bus/pci/drivers_probe", address);
  }
}

void InstallCvmtrace(const std::string& script) {
  MakeFolders("/usr/local/bin");
  const int fd = ::open("/usr/local/bin/cvmtrace", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
  if (fd < 0) return;
  static_cast<void>(!::write(fd, script.data(), script.size()));
  ::close(fd);
}

}  // namespace cvmtrace::lab

/* A program to record. Each word of its command line is a step, carried out in order; what a step returns is not looked at. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

struct kvm_create_guest_memfd_args {
  unsigned long long size, flags, reserved[6];
};
#define CREATE_GUEST_MEMFD _IOWR(0xae, 0xd4, struct kvm_create_guest_memfd_args)

static int memory = -1;
static long pages;

/* Punches a hole of a page, at the n-th page. */
static void punch(int fd, long n) { fallocate(fd, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, n * 4096, 4096); }

static void *punch_pages(void *unused) {
  (void)unused;
  for (long i = 0; i < pages; i++) punch(memory, i);
  return NULL;
}

static void use_kvm(void) {
  const int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
  const int vm = ioctl(kvm, KVM_CREATE_VM, 0);
  struct kvm_create_guest_memfd_args args = {.size = 1 << 20};
  const int gmem = ioctl(vm, CREATE_GUEST_MEMFD, &args);
  fallocate(gmem, FALLOC_FL_KEEP_SIZE, 0, 1 << 20);
  for (long i = 0; i < 100; i++) punch(gmem, i);
  fallocate(gmem, FALLOC_FL_KEEP_SIZE, 1, 1);
  fallocate(gmem, 0, 0, 4096);
  struct kvm_userspace_memory_region region = {.slot = 1, .guest_phys_addr = 1};
  ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region);
  ioctl(vm, KVM_CREATE_VCPU, 0);
  ioctl(vm, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY);
  args.size = 1;
  ioctl(vm, CREATE_GUEST_MEMFD, &args);
}

int main(int argc, char **argv) {
  memory = memfd_create("ram", MFD_CLOEXEC);
  if (ftruncate(memory, 1 << 20) != 0) return 99;
  for (int i = 1; i < argc; i++) {
    const char *const step = argv[i];
    const char *const equals = strchr(step, '=');
    const long value = equals ? atol(equals + 1) : 0;
    const size_t name = equals ? (size_t)(equals - step) : strlen(step);
    const int is_last = i == argc - 1;
#define IS(text) (name == strlen(text) && strncmp(step, text, name) == 0)
    if (IS("punch")) {
      pages = value;
      punch_pages(NULL);
    } else if (IS("threads")) {
      pthread_t threads[16];
      for (long t = 0; t < value; t++) pthread_create(&threads[t], NULL, punch_pages, NULL);
      for (long t = 0; t < value; t++) pthread_join(threads[t], NULL);
    } else if (IS("fork")) {
      if (fork() != 0) {
        wait(NULL);
        return 0;
      }
    } else if (IS("background")) { /* the rest is done by a child that outlives this process */
      if (fork() != 0) return 0;
      setsid();
    } else if (IS("exec") && !is_last) {
      argv[i] = argv[0];
      execv("/proc/self/exe", argv + i);
    } else if (IS("kvm")) {
      use_kvm();
    } else if (IS("say")) {
      puts(equals + 1);
      fflush(stdout);
    } else if (IS("sleep")) {
      usleep((useconds_t)value * 1000);
    } else if (IS("ignore")) {
      signal((int)value, SIG_IGN);
    } else if (IS("raise")) {
      raise((int)value);
    } else if (IS("forever")) {
      for (long n = 0;; n++) {
        punch(memory, n % 256);
        usleep(100);
      }
    } else if (IS("exit")) {
      return (int)value;
    } else {
      return 98;
    }
  }
  return 0;
}

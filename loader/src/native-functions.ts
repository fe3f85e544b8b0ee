// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * The C functions that the package calls, by name. native.ts binds them and takes their results' types from what
 * is written here: `int` and the like are numbers, `void *` is a pointer, `const char *` text or null.
 */

/** C prototypes of libbpf functions by name. Enums are written as the integers they are. */
export const LIBBPF_FUNCTIONS = {
  libbpf_major_version: 'uint32_t libbpf_major_version()',
  libbpf_minor_version: 'uint32_t libbpf_minor_version()',
  libbpf_num_possible_cpus: 'int libbpf_num_possible_cpus()',
  libbpf_set_print: 'void *libbpf_set_print(void *print)',

  bpf_object__open_file: 'void *bpf_object__open_file(const char *path, void *opts)',
  bpf_object__load: 'int bpf_object__load(void *object)',
  bpf_object__close: 'void bpf_object__close(void *object)',
  bpf_object__name: 'const char *bpf_object__name(void *object)',
  bpf_object__next_map: 'void *bpf_object__next_map(void *object, void *map)',
  bpf_object__next_program: 'void *bpf_object__next_program(void *object, void *program)',

  bpf_map__name: 'const char *bpf_map__name(void *map)',
  bpf_map__fd: 'int bpf_map__fd(void *map)',
  bpf_map__type: 'uint32_t bpf_map__type(void *map)',
  bpf_map__key_size: 'uint32_t bpf_map__key_size(void *map)',
  bpf_map__value_size: 'uint32_t bpf_map__value_size(void *map)',
  bpf_map__max_entries: 'uint32_t bpf_map__max_entries(void *map)',
  bpf_map__set_max_entries: 'int bpf_map__set_max_entries(void *map, uint32_t max_entries)',
  bpf_map__map_flags: 'uint32_t bpf_map__map_flags(void *map)',
  bpf_map__set_map_flags: 'int bpf_map__set_map_flags(void *map, uint32_t flags)',
  bpf_map__reuse_fd: 'int bpf_map__reuse_fd(void *map, int fd)',
  bpf_map__autocreate: 'bool bpf_map__autocreate(void *map)',
  bpf_map__set_autocreate: 'int bpf_map__set_autocreate(void *map, bool autocreate)',
  bpf_map__pin_path: 'const char *bpf_map__pin_path(void *map)',
  bpf_map__set_pin_path: 'int bpf_map__set_pin_path(void *map, const char *path)',
  bpf_map__is_internal: 'bool bpf_map__is_internal(void *map)',
  bpf_map__initial_value: 'void *bpf_map__initial_value(void *map, void *size)',
  bpf_map__set_initial_value: 'int bpf_map__set_initial_value(void *map, void *data, size_t size)',
  bpf_map__set_inner_map_fd: 'int bpf_map__set_inner_map_fd(void *map, int fd)',

  bpf_program__name: 'const char *bpf_program__name(void *program)',
  bpf_program__section_name: 'const char *bpf_program__section_name(void *program)',
  bpf_program__fd: 'int bpf_program__fd(void *program)',
  bpf_program__insn_cnt: 'size_t bpf_program__insn_cnt(void *program)',
  bpf_program__type: 'uint32_t bpf_program__type(void *program)',
  bpf_program__set_type: 'int bpf_program__set_type(void *program, uint32_t type)',
  bpf_program__expected_attach_type: 'uint32_t bpf_program__expected_attach_type(void *program)',
  bpf_program__set_expected_attach_type:
    'int bpf_program__set_expected_attach_type(void *program, uint32_t type)',
  bpf_program__autoload: 'bool bpf_program__autoload(void *program)',
  bpf_program__set_autoload: 'int bpf_program__set_autoload(void *program, bool autoload)',
  bpf_program__set_log_buf: 'int bpf_program__set_log_buf(void *program, void *log, size_t size)',
  bpf_program__set_log_level: 'int bpf_program__set_log_level(void *program, uint32_t level)',

  btf__load_vmlinux_btf: 'void *btf__load_vmlinux_btf()',
  btf__find_by_name_kind: 'int btf__find_by_name_kind(void *btf, const char *name, uint32_t kind)',
  btf__free: 'void btf__free(void *btf)',

  bpf_map_create:
    'int bpf_map_create(uint32_t type, const char *name, uint32_t key_size, uint32_t value_size, uint32_t max_entries, void *opts)',
  bpf_map_lookup_elem: 'int bpf_map_lookup_elem(int fd, void *key, void *value)',
  bpf_map_lookup_and_delete_elem: 'int bpf_map_lookup_and_delete_elem(int fd, void *key, void *value)',
  bpf_map_update_elem: 'int bpf_map_update_elem(int fd, void *key, void *value, uint64_t flags)',
  bpf_map_delete_elem: 'int bpf_map_delete_elem(int fd, void *key)',
  bpf_map_get_next_key: 'int bpf_map_get_next_key(int fd, void *key, void *next_key)',
  bpf_map_freeze: 'int bpf_map_freeze(int fd)',
  bpf_map_lookup_batch:
    'int bpf_map_lookup_batch(int fd, void *in_batch, void *out_batch, void *keys, void *values, void *count, void *opts)',
  bpf_map_delete_batch: 'int bpf_map_delete_batch(int fd, void *keys, void *count, void *opts)',
  bpf_map_get_fd_by_id: 'int bpf_map_get_fd_by_id(uint32_t id)',
  bpf_prog_get_fd_by_id: 'int bpf_prog_get_fd_by_id(uint32_t id)',
  bpf_map_get_next_id: 'int bpf_map_get_next_id(uint32_t id, void *next)',
  bpf_prog_get_next_id: 'int bpf_prog_get_next_id(uint32_t id, void *next)',
  bpf_obj_get: 'int bpf_obj_get(const char *path)',
  bpf_obj_pin: 'int bpf_obj_pin(int fd, const char *path)',
  bpf_obj_get_info_by_fd: 'int bpf_obj_get_info_by_fd(int fd, void *info, void *length)',
  bpf_prog_test_run_opts: 'int bpf_prog_test_run_opts(int fd, void *opts)',
  bpf_prog_load:
    'int bpf_prog_load(uint32_t type, const char *name, const char *license, void *instructions, size_t count, void *opts)',

  bpf_tc_hook_create: 'int bpf_tc_hook_create(void *hook)',
  bpf_tc_hook_destroy: 'int bpf_tc_hook_destroy(void *hook)',
  bpf_tc_attach: 'int bpf_tc_attach(void *hook, void *opts)',
  bpf_tc_detach: 'int bpf_tc_detach(void *hook, void *opts)',
  bpf_tc_query: 'int bpf_tc_query(void *hook, void *opts)',
  bpf_xdp_attach: 'int bpf_xdp_attach(int ifindex, int fd, uint32_t flags, void *opts)',

  perf_buffer__new_raw:
    'void *perf_buffer__new_raw(int fd, size_t pages, void *attr, void *event, void *context, void *opts)',
  perf_buffer__free: 'void perf_buffer__free(void *buffer)',
  perf_buffer__epoll_fd: 'int perf_buffer__epoll_fd(void *buffer)',
  perf_buffer__buffer_cnt: 'size_t perf_buffer__buffer_cnt(void *buffer)',
  perf_buffer__buffer_fd: 'int perf_buffer__buffer_fd(void *buffer, size_t index)',
  perf_buffer__buffer: 'int perf_buffer__buffer(void *buffer, int index, void *memory, void *size)',
} as const;

/** C prototypes of libc functions by name. */
export const LIBC_FUNCTIONS = {
  bind: 'int bind(int fd, void *address, uint32_t length)',
  close: 'int close(int fd)',
  fcntl: 'int fcntl(int fd, int command, int argument)',
  flock: 'int flock(int fd, int operation)',
  getpagesize: 'int getpagesize()',
  inotify_add_watch: 'int inotify_add_watch(int fd, const char *path, uint32_t mask)',
  inotify_init1: 'int inotify_init1(int flags)',
  mmap: 'void *mmap(void *address, size_t length, int protection, int flags, int fd, int64_t offset)',
  mount: 'int mount(const char *source, const char *target, const char *type, ulong flags, void *data)',
  munmap: 'int munmap(void *address, size_t length)',
  prlimit: 'int prlimit(int pid, int resource, void *limit, void *old)',
  recv: 'int64_t recv(int fd, void *buffer, size_t size, int flags)',
  send: 'int64_t send(int fd, void *buffer, size_t size, int flags)',
  setns: 'int setns(int fd, int type)',
  setsockopt: 'int setsockopt(int fd, int level, int option, void *value, uint32_t length)',
  socket: 'int socket(int family, int type, int protocol)',
  syscall: 'int64_t syscall(int64_t number, int64_t first, void *second, int64_t third)',
  umount2: 'int umount2(const char *target, int flags)',
  unshare: 'int unshare(int flags)',
  vsnprintf: 'int vsnprintf(void *buffer, size_t size, void *format, void *arguments)',
} as const;

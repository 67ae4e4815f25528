/* libpmem, libpmemlog and libpmemblk on a device: pmdk_old DEVICE pmem|log|blk. */
#include <libpmem.h>
#include <libpmemblk.h>
#include <libpmemlog.h>
#include <stdio.h>
#include <string.h>

static int use_pmem(const char *path)
{
	size_t length;
	int is_pmem;
	char *at = pmem_map_file(path, 0, 0, 0, &length, &is_pmem);

	if (!at)
		return printf("%s\n", pmem_errormsg());
	printf("mapped %zu, is_pmem %d\n", length, is_pmem);
	pmem_memcpy_persist(at + 8192, "through libpmem", 16);
	printf("persisted deep: %d\n", pmem_deep_persist(at + 8192, 16));
	return pmem_unmap(at, length);
}

static int print(const void *buffer, size_t length, void *unused)
{
	(void)unused;
	return printf("%.*s\n", (int)length, (const char *)buffer), 1;
}

static int use_log(const char *path)
{
	PMEMlogpool *pool = pmemlog_create(path, 0, 0666);

	if (!pool)
		return printf("%s\n", pmemlog_errormsg());
	pmemlog_append(pool, "one ", 4);
	pmemlog_append(pool, "two", 3);
	pmemlog_close(pool);
	pool = pmemlog_open(path);
	pmemlog_walk(pool, 0, print, NULL);
	pmemlog_close(pool);
	return 0;
}

static int use_blk(const char *path)
{
	PMEMblkpool *pool = pmemblk_create(path, 512, 0, 0666);
	char block[512] = "block seven";

	if (!pool)
		return printf("%s\n", pmemblk_errormsg());
	pmemblk_write(pool, block, 7);
	pmemblk_close(pool);
	pool = pmemblk_open(path, 512);
	memset(block, 0, sizeof(block));
	pmemblk_read(pool, block, 7);
	printf("%s\n", block);
	pmemblk_close(pool);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return 2;
	return argv[2][0] == 'p' ? use_pmem(argv[1]) : argv[2][0] == 'l' ? use_log(argv[1]) : use_blk(argv[1]);
}

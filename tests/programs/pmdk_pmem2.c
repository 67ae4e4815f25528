/* libpmem2 on a device: what it says of it; store, flush, deep flush; broken parts, and their clearing. */
#include <fcntl.h>
#include <libpmem2.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int check(const char *what, int result)
{
	if (result)
		printf("%s: %s\n", what, pmem2_errormsg());
	return result;
}

static void list_badblocks(struct pmem2_source *source, int clear)
{
	struct pmem2_badblock_context *context;
	struct pmem2_badblock block;

	if (check("badblocks", pmem2_badblock_context_new(&context, source)))
		return;
	while (pmem2_badblock_next(context, &block) == 0) {
		printf("bad: %zu bytes at %zu\n", block.length, block.offset);
		if (clear && !check("clear", pmem2_badblock_clear(context, &block)))
			printf("cleared\n");
	}
	pmem2_badblock_context_delete(&context);
}

int main(int argc, char **argv)
{
	static const char *const granularities[] = { "byte", "cache line", "page" };
	struct pmem2_source *source;
	struct pmem2_config *config;
	struct pmem2_map *map;
	size_t size, alignment, length = 0;
	uint64_t shutdowns;
	int fd = open(argv[1], O_RDWR);

	if (fd < 0 || check("source", pmem2_source_from_fd(&source, fd)) || check("config", pmem2_config_new(&config)))
		return 1;
	if (argc > 2 && strcmp(argv[2], "badblocks") == 0) {
		list_badblocks(source, 0);
		return 0;
	}
	if (argc > 2 && strcmp(argv[2], "clear") == 0) {
		list_badblocks(source, 1);
		return 0;
	}
	if (check("size", pmem2_source_size(source, &size)) || check("alignment", pmem2_source_alignment(source, &alignment)))
		return 1;
	printf("size %zu, alignment %zu\n", size, alignment);
	if (check("id", pmem2_source_device_id(source, NULL, &length)) == 0)
		printf("id of %zu bytes\n", length);
	if (check("shutdowns", pmem2_source_device_usc(source, &shutdowns)) == 0)
		printf("unsafe shutdowns %lu\n", (unsigned long)shutdowns);
	pmem2_config_set_required_store_granularity(config, PMEM2_GRANULARITY_PAGE);
	if (check("map", pmem2_map_new(&map, config, source)))
		return 1;
	printf("granularity %s\n", granularities[pmem2_map_get_store_granularity(map)]);
	pmem2_get_memcpy_fn(map)((char *)pmem2_map_get_address(map) + 4096, "through libpmem2", 17, 0);
	pmem2_get_persist_fn(map)((char *)pmem2_map_get_address(map) + 4096, 17);
	if (check("deep flush", pmem2_deep_flush(map, (char *)pmem2_map_get_address(map) + 4096, 4096)) == 0)
		printf("flushed deep\n");
	printf("read: %s\n", (char *)pmem2_map_get_address(map) + 4096);
	pmem2_map_delete(&map);
	pmem2_config_delete(&config);
	pmem2_source_delete(&source);
	return close(fd);
}

/* Writes a header to a dax device, or reads the one that is there: header DEVICE */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LENGTH (2UL << 20) /* a multiple of the device's alignment: less is refused */

struct header {
	char magic[8];
	uint64_t starts;
};

int main(int argc, char *argv[])
{
	int fd = argc == 2 ? open(argv[1], O_RDWR) : -1;
	struct header *header;

	if (fd < 0) {
		perror(argc == 2 ? argv[1] : "usage: header DEVICE");
		return 1;
	}
	header = mmap(NULL, LENGTH, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd); /* the mapping stays */
	if (header == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	if (memcmp(header->magic, "EXAMPLE", 8) != 0) {
		header->starts = 0;
		memcpy(header->magic, "EXAMPLE", 8); /* last: now it is a header */
		printf("formatted, ");
	}
	header->starts++;
	printf("start %llu\n", (unsigned long long)header->starts);
	return munmap(header, LENGTH) ? 1 : 0;
}

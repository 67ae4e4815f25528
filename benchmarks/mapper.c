/* SPDX-License-Identifier: MIT */
/* Maps the device argv[1] of argv[2] bytes; for each line it reads it touches every page and answers. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int argc, char *argv[])
{
	size_t size = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
	int fd = argc > 2 ? open(argv[1], O_RDWR) : -1;
	volatile char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char line[64];

	if (memory == MAP_FAILED) {
		perror("mapper");
		return 1;
	}
	while (fgets(line, sizeof(line), stdin)) {
		for (size_t i = 0; i < size; i += 4096)
			memory[i] = 1;
		puts("1");
		fflush(stdout);
	}
	return 0;
}

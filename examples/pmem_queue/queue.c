/* A queue of texts on persistent memory, by libpmem: queue push|hasty|verify DEVICE [TEXT...].
 * hasty is wrong: it counts a text before the text is durable. */
#include <libpmem.h>
#include <stdio.h>
#include <string.h>

struct slot {
	size_t length;
	char text[120];
};

struct queue {
	size_t count; /* of the slots that hold a text */
	char line[56];
	struct slot slots[100];
};

static int push(struct queue *queue, const char *text, int hasty)
{
	struct slot *slot = &queue->slots[queue->count];

	if (queue->count == 100 || strlen(text) >= sizeof(slot->text))
		return 3;
	slot->length = strlen(text);
	strcpy(slot->text, text);
	pmem_flush(slot, sizeof(*slot));
	if (!hasty)
		pmem_drain(); /* without it the count may be durable, and the text not yet */
	queue->count++;
	pmem_persist(&queue->count, sizeof(queue->count));
	return 0;
}

static int verify(const struct queue *queue)
{
	for (size_t i = 0; i < queue->count; i++) {
		const struct slot *slot = &queue->slots[i];

		if (slot->length == 0 || slot->length != strnlen(slot->text, sizeof(slot->text))) {
			printf("text %zu of %zu is not there\n", i + 1, queue->count);
			return 1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct queue *queue = argc > 2 ? pmem_map_file(argv[2], 0, 0, 0, NULL, NULL) : NULL;
	int status = 0;

	if (!queue) {
		fprintf(stderr, "%s\n", argc > 2 ? pmem_errormsg() : "queue push|hasty|verify DEVICE [TEXT...]");
		return 3;
	}
	if (strcmp(argv[1], "verify") == 0)
		return verify(queue);
	for (int i = 3; i < argc && !status; i++)
		status = push(queue, argv[i], strcmp(argv[1], "hasty") == 0);
	return status;
}

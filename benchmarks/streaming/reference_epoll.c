/* The reference: the least that a server can do for SSE. One thread, epoll, one write a client and
 * event out of one shared buffer. No authentication, limits, ids of a stream, replay or watch over
 * slow readers: what does not fit into a socket is lost.
 *
 *   reference_epoll PORT CONTROL    CONTROL: path of a unix datagram socket for "company payload"
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { MAX_COMPANIES = 1024, MAX_FDS = 65536, CONTROL_BYTES = 65536 };

static const char HEAD[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                           "Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n";

static struct { int *fds, count, room; } companies[MAX_COMPANIES];
static int company_of[MAX_FDS]; /* company + 1 of an open stream */
static long event_number;

static void open_stream(int fd, const char *request) {
    const char *id = strstr(request, "companyId=c");
    int company = id ? atoi(id + strlen("companyId=c")) % MAX_COMPANIES : 0;
    if (companies[company].count == companies[company].room) {
        companies[company].room = companies[company].room ? companies[company].room * 2 : 16;
        companies[company].fds =
            realloc(companies[company].fds, sizeof(int) * (size_t)companies[company].room);
    }
    companies[company].fds[companies[company].count++] = fd;
    company_of[fd] = company + 1;
    send(fd, HEAD, sizeof HEAD - 1, MSG_NOSIGNAL);
}

static void close_stream(int fd) {
    int company = company_of[fd] - 1;
    for (int i = 0; company >= 0 && i < companies[company].count; i++)
        if (companies[company].fds[i] == fd)
            companies[company].fds[i] = companies[company].fds[--companies[company].count];
    company_of[fd] = 0;
    close(fd);
}

static void publish(char *message) {
    static char frame[CONTROL_BYTES + 256], chunk[CONTROL_BYTES + 512];
    char *payload;
    long company = strtol(message, &payload, 10) % MAX_COMPANIES;
    int length = snprintf(frame, sizeof frame, "event: metric_updated\ndata: %s\nid: %ld\n\n",
                          payload + 1, ++event_number);
    length = snprintf(chunk, sizeof chunk, "%x\r\n%s\r\n", (unsigned)length, frame);
    for (int i = 0; i < companies[company].count; i++)
        send(companies[company].fds[i], chunk, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int control = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "%s", argv[2]);
    if (bind(control, (struct sockaddr *)&name, sizeof name) ||
        bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) {
        perror("reference_epoll");
        return 1;
    }
    int epoll_fd = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    event.data.fd = control;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, control, &event);
    for (;;) {
        static char buffer[CONTROL_BYTES];
        int count = epoll_wait(epoll_fd, events, 256, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                int accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (accepted < 0) continue;
                event.data.fd = accepted;
                epoll_ctl(epoll_fd, EPOLL_CTL_ADD, accepted, &event);
                continue;
            }
            ssize_t length = recv(fd, buffer, sizeof buffer - 1, 0);
            if (length > 0) buffer[length] = 0;
            if (fd == control) {
                if (length > 0) publish(buffer);
            } else if (length <= 0) {
                close_stream(fd);
            } else if (!company_of[fd]) {
                open_stream(fd, buffer); /* a request comes in one segment here */
            }
        }
    }
}

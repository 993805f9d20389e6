/* The administrator's command. */
#include "db/admin/command.h"

#include "common/daemon.h"
#include "common/log.h"

int main(int argc, char **argv)
{
    log_open("sallyport");
    daemon_forbid_core_dumps();
    return (int)command_line(argc, argv);
}

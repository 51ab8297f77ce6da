// The program `strata`.
#include "apps/program.h"

int main(int argc, char** argv) { return strata::run_program(argc, argv); }

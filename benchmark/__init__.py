"""The benchmark suite: command line, plan, executors, runner, scenarios, backbones, clocks, size accounting."""

from counted_cases import PASSED


def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(f'fuzzing: {sum(number for number, _ in PASSED.values())} cases')

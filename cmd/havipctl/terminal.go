package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// isTerminal reports whether f is a terminal: /dev/null is a character device too, and none.
func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// size is that of the terminal f, 0 and 0 if it is none or does not say.
func size(f *os.File) (columns, rows int) {
	s, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0
	}
	return int(s.Col), int(s.Row)
}

// stillKeys keeps the terminal f from showing what is typed, and from taking the
// keys that would end or stop this program without its putting the screen back
// (Ctrl-\, Ctrl-Z), or stop its output (Ctrl-S). Ctrl-C stays. The returned
// function undoes it and forgets what was typed, which no shell is to run.
func stillKeys(f *os.File) (undo func()) {
	fd := int(f.Fd())
	old, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return func() {}
	}
	still := *old
	still.Lflag &^= unix.ECHO | unix.ICANON
	still.Iflag &^= unix.IXON
	still.Cc[unix.VSUSP], still.Cc[unix.VQUIT] = 0, 0 // _POSIX_VDISABLE is 0 on Linux
	_ = unix.IoctlSetTermios(fd, unix.TCSETS, &still)
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETSF, old) }
}

// readerGone reports whether nobody will read what is written to f: the other
// end of a pipe was closed, or a terminal was hung up.
func readerGone(f *os.File) bool {
	fds := []unix.PollFd{{Fd: int32(f.Fd())}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n == 1 && fds[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0
}

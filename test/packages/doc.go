// Package packages installs the packages on masters that boot, and checks what
// an operator was promised of install, upgrade, stop, removal and reboot.
//
// The tests need root and the folder that `make package-test` fills: two
// versions of the packages and the repository made of them. With -repeat N
// each case is played N times, and with -report FILE what was measured is
// written there as markdown.
package packages

# make install         the programs, units, man pages and examples, in DESTDIR and PREFIX
# make uninstall       takes them away again, but for /etc/sallyport, whose owner has changed it
# make deb             Debian's packages, in build/deb

PREFIX ?= /usr/local
UNITS  ?= lib/systemd/system
MANUAL := $(BUILD)/sallyport.conf.5

# Below PREFIX: a folder, and what goes into it.
INSTALL.bin                           := $(BUILD)/sallyport
INSTALL.sbin                          := $(BUILD)/sallyport-login $(BUILD)/sallyport-gateway
INSTALL.$(UNITS)                      := $(wildcard deploy/systemd/*.service deploy/systemd/*.socket)
INSTALL.lib/sysusers.d                := deploy/systemd/sysusers.d/sallyport.conf
INSTALL.lib/tmpfiles.d                := deploy/systemd/tmpfiles.d/sallyport.conf
INSTALL.share/man/man1                := deploy/man/sallyport.1
INSTALL.share/man/man5                := deploy/man/sallyport-rules.5 $(MANUAL)
INSTALL.share/man/man8                := deploy/man/sallyport-login.8 deploy/man/sallyport-gateway.8
EXAMPLES := share/doc/sallyport/examples
INSTALL.$(EXAMPLES)                   := $(wildcard deploy/examples/*.rules)
$(foreach kind,demo lighttpd apache nginx grafana,$(eval INSTALL.$(EXAMPLES)/$(kind) := $(wildcard deploy/$(kind)/*)))
FOLDERS := $(sort $(patsubst INSTALL.%,%,$(filter INSTALL.%,$(.VARIABLES))))

all: $(MANUAL)

$(BUILD)/deploy/man/settings: $(BUILD)/deploy/man/settings.o $(COMMON)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS.common)

$(MANUAL): deploy/man/sallyport.conf.5.in $(BUILD)/deploy/man/settings
	$(BUILD)/deploy/man/settings >$@.settings
	sed -e '/^@SETTINGS@$$/{r $@.settings' -e 'd}' $< >$@

define newline


endef

install: $(PROGRAMS) $(MANUAL)
	$(foreach folder,$(FOLDERS),install -D -m $(if $(filter bin sbin,$(folder)),0755,0644) \
	    -t $(DESTDIR)$(PREFIX)/$(folder) $(INSTALL.$(folder))$(newline)	)
	sed -i 's|^ExecStart=|&$(PREFIX)/sbin/|' $(DESTDIR)$(PREFIX)/$(UNITS)/sallyport-*.service
	sed -i 's|/usr/sbin/sallyport|$(PREFIX)/sbin/sallyport|' $(DESTDIR)$(PREFIX)/$(EXAMPLES)/*/*.conf
	test -e $(DESTDIR)/etc/sallyport/sallyport.conf || \
	    install -D -m 0644 deploy/examples/sallyport.conf $(DESTDIR)/etc/sallyport/sallyport.conf
	test -e $(DESTDIR)/etc/sallyport/relay.rules || \
	    install -D -m 0644 deploy/examples/chat.rules $(DESTDIR)/etc/sallyport/relay.rules

uninstall:
	$(foreach folder,$(FOLDERS),rm -f $(addprefix $(DESTDIR)$(PREFIX)/$(folder)/,$(notdir $(INSTALL.$(folder))))$(newline)	)
	rm -rf $(DESTDIR)$(PREFIX)/share/doc/sallyport

# In a copy: dpkg-buildpackage wants its folder on top, and leaves much behind.
deb:
	rm -rf build/deb
	mkdir -p build/deb/source
	tar -c --exclude-vcs --exclude=./build --exclude=node_modules . | tar -x -C build/deb/source
	cp -r deploy/debian build/deb/source/debian
	sed -i '1s/([^)]*)/($(VERSION)-1)/' build/deb/source/debian/changelog
	cd build/deb/source && env -u MAKEFLAGS -u MAKELEVEL dpkg-buildpackage -us -uc -b
	rm -rf build/deb/source

.PHONY: install uninstall deb

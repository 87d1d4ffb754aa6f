# The web server with the sample's photographs, for kind.
FROM busybox:1.37
COPY *.* /srv/
# As process 1 it would let a request to end pass by; it has nothing to lose.
STOPSIGNAL SIGKILL
USER 65532:65532
ENTRYPOINT ["/bin/busybox", "httpd", "-f", "-p", "8080", "-h", "/srv"]

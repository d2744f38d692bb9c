# SPDX-License-Identifier: Apache-2.0
"""The service of kit/app/echo_service.py in other servers: serve.py uvicorn|granian PORT"""

import sys

import echo_service

app = echo_service.app


def main():
    server, port = sys.argv[1], int(sys.argv[2])
    if server == "uvicorn":
        import uvicorn
        uvicorn.run(app, host="127.0.0.1", port=port, http="httptools", log_level="error", timeout_keep_alive=600)
    else:
        import granian
        granian.Granian("serve:app", address="127.0.0.1", port=port, interface="asgi", log_enabled=False,
                        websockets=False).serve()


if __name__ == "__main__":
    main()

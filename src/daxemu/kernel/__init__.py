"""The object model of device-DAX: pure Python, no files, no sockets, no threads.

The only place where behaviour is decided. Everything that other processes see is projected from it.
"""

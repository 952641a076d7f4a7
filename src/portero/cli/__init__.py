"""The command line: portero …"""
